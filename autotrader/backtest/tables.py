"""Tables and lists as HTML; every text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_NUMBER = ' class="n"'


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table. value: what it is sorted by; kind: a CSS class; html: stands in for the text, escaped."""

    text: str
    value: float | None = None
    kind: str = ""
    html: str | None = None

    def render(self, number: bool) -> str:
        kinds = " ".join(filter(None, ("n" if number else "", self.kind)))
        kind = f' class="{kinds}"' if kinds else ""
        sort = "" if self.value is None else f' data-v="{self.value:.6g}"'
        return f"<td{kind}{sort}>{escape(self.text) if self.html is None else self.html}</td>"


def table(
    head: Sequence[tuple[str, bool]], rows: Iterable[Sequence[Cell]], marked: Sequence[bool] = (), name: str = ""
) -> str:
    """head: names, and whether a column is of numbers. marked: rows that stand out. name: the id."""
    heads = "".join(f'<th scope="col"{_NUMBER if number else ""}>{escape(text)}</th>' for text, number in head)
    body = []
    for index, row in enumerate(rows):
        kind = ' class="silent"' if marked and marked[index] else ""
        if name:
            kind += f' data-trade="{index}"'
        cells = "".join(cell.render(number) for cell, (_, number) in zip(row, head, strict=True))
        body.append(f"<tr{kind}>{cells}</tr>")
    ident = f' id="{name}"' if name else ""
    return (
        f'<div class="wide"><table class="sortable"{ident}><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def bullets(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def sign(value: float | None) -> str:
    return "" if value is None or value == 0 else "good" if value > 0 else "bad"
