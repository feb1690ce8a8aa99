"""Random edits of the default configuration: what a tired hand, a merge or a broken disk does to a file."""

from __future__ import annotations

import random
import re
from pathlib import Path

DEFAULT = (Path(__file__).parents[2] / "config" / "strategy_params.yaml").read_text(encoding="utf-8")

_VALUES = ["x", "5", "-1", "0.5", "true", "", "[]", "{}", "[1, {a: 2}]", "{long: 1}", '"7%"', "1e9", "20:00", "on"]
_PIECES = ["and", "or", "not", "(", ")", "==", "=", "<", "7%", "1e999", '"long"', "'", "price", "rsi", "max_long", "if",
           "else", "min(", ",", "**", "!", " #", "é", "True", "null", "\\"]  # fmt: skip
_CONDITION = re.compile(r"(when|value|of|strength): ([^,}\n]+)")


def mutated(text: str, random_: random.Random) -> bytes:
    """The text with one to three edits of lines, values, subtrees and expressions, now and then of a byte."""
    lines = text.split("\n")
    for _ in range(random_.randint(1, 3)):
        at = random_.randrange(len(lines))
        match random_.randrange(8):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines.insert(at, lines[random_.randrange(len(lines))])
            case 2:
                key, colon, _ = lines[at].partition(": ")
                lines[at] = key + colon + random_.choice(_VALUES)
            case 3:
                lines[at] = " " * random_.randint(0, 6) + lines[at].lstrip()
            case 4:
                cut = random_.randint(0, len(lines[at]))
                lines[at] = lines[at][:cut] + random_.choice("{}[]:,#&*!|>%@`\"'?-\t\x00é ~=") + lines[at][cut:]
            case 5:
                words = lines[at].split(", ")
                words[random_.randrange(len(words))] = random_.choice(_VALUES)
                lines[at] = ", ".join(words)
            case 6:
                lines = _swapped(lines, random_)
            case 7:
                lines = _CONDITION.sub(lambda found: _reworded(found, random_), "\n".join(lines)).split("\n")
    content = bytearray("\n".join(lines).encode())
    if random_.random() < 0.2 and content:
        content[random_.randrange(len(content))] = random_.randrange(256)
    return bytes(content)


def _swapped(lines: list[str], random_: random.Random) -> list[str]:
    """Two runs of lines in each other's place."""
    a, b = sorted(random_.sample(range(len(lines) + 1), 2)) if len(lines) > 1 else (0, 0)
    size = random_.randint(1, 8)
    first, second = lines[a : a + size], lines[b : b + size]
    return lines[:a] + second + lines[a + size : b] + first + lines[max(b, a) + size :]


def _reworded(found: re.Match[str], random_: random.Random) -> str:
    """Now and then, an expression with a word dropped, doubled, misspelt or replaced."""
    if random_.random() > 0.1:
        return found[0]
    words = found[2].split(" ")
    at = random_.randrange(len(words))
    word = words[at]
    words[at] = random_.choice(["", f"{word} {word}", word[:-1], word[::-1], random_.choice(_PIECES)])
    return f"{found[1]}: {' '.join(words)}"
