"""Expressions: a strict subset of Python's, checked as text, tokens and syntax tree before anything evaluates.

An expression is normalised once into trees without `not` and without chains. A condition has two: `match` is true
exactly where the condition certainly holds, `miss` where it certainly does not; where neither is true, it is unknown.
Every comparison in them is false for NaN and None, so evaluators need no special case for unknowns.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import cast

from autotrader.rules.facts import Kind
from autotrader.rules.problems import allowed, suggest

MAX_CHARACTERS = 500
MAX_LEVELS = 20

# name -> how many arguments it takes
FUNCTIONS: Mapping[str, tuple[int, int]] = {
    "abs": (1, 1),
    "min": (2, 20),
    "max": (2, 20),
    "clip": (3, 3),
    "round": (1, 2),
}
WORDS = frozenset({"and", "or", "not", "if", "else", "true", "false"})

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?P<percent>%)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<text>"[^"\\\x00-\x1f]*"|'[^'\\\x00-\x1f]*')
      | (?P<long>\*\*|//|:=|->|<<|>>|<>|&&|\|\||===?=*)
      | (?P<operator><=|>=|!=|[<>+\-*/(),])
      | (?P<refused>.)""",
    re.VERBOSE | re.DOTALL,
)

_REFUSED = {
    "=": "use == to compare",
    "&&": "write and",
    "||": "write or",
    "===": "use == to compare",
    "<>": "use != to compare",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "**": "powers are not part of the language; multiply instead",
    "//": "use / to divide",
    ":=": "nothing can be assigned in an expression",
    "%": "a percent follows its number directly, as in 7%; there is no remainder operator",
    ".": "a name has no parts, and a number starts with a digit",
    "[": "nothing can be indexed",
    "]": "nothing can be indexed",
    "{": "no braces in an expression",
    "}": "no braces in an expression",
    ";": "one expression only",
    "\\": "no backslash in an expression",
    '"': "a quoted text ends on the line it starts on",
    "'": "a quoted text ends on the line it starts on",
    "#": "a # starts a comment in YAML only",
    "~": "write not",
    "^": "powers are not part of the language",
    "@": "not an operator here",
    ":": "no colon in an expression",
    "?": "write `a if condition else b`",
    "$": "amounts are written without a currency sign",
}


@dataclass(frozen=True, slots=True)
class Flaw:
    """One mistake in an expression: `offset` and `length` are in characters of its text."""

    code: str
    message: str
    offset: int = 0
    length: int = 1
    name: str | None = None


class ExpressionError(ValueError):
    """The text is not an expression of the language. `flaws` says everything that is wrong with it."""

    def __init__(self, text: str, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(flaw.message for flaw in flaws))
        self.text = text
        self.flaws = flaws


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A checked expression.

    reads: the names it reads with their kinds, in order of appearance.
    tree:  the syntax tree as written, names resolved, numbers as floats; offsets are those of `text`.
    value: for numbers and text, the normalised tree; for conditions, the same as `match`.
    match, miss: for conditions, see the module's text; for others, None.
    """

    text: str
    kind: Kind
    reads: Mapping[str, Kind]
    tree: ast.expr
    value: ast.expr
    match: ast.expr | None = None
    miss: ast.expr | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.reads)


def parse(text: str, names: Mapping[str, Kind], expect: Kind | None = None) -> Expression:
    """The checked expression, its names taken from `names`, its result of the kind `expect` where one is asked for.

    Raises ExpressionError with every flaw found.
    """
    source = _tokenise(text)
    tree = _syntax_tree(text, source)
    checker = _Checker(source, names)
    kind = checker.kind(tree, 1)
    if not checker.flaws and expect is not None and kind != expect:
        checker.flaws.append(_wrong_result(text, kind, expect))
    if checker.flaws:
        raise ExpressionError(text, checker.flaws)
    reads = {name: names[name] for name in checker.read}
    if kind == "flag":
        match, miss = _truth(tree, True, checker.kinds), _truth(tree, False, checker.kinds)
        return Expression(text, kind, reads, tree, match, match, miss)
    return Expression(text, cast(Kind, kind), reads, tree, _number(tree, checker.kinds))


def comparisons(expression: Expression) -> Iterator[ast.Compare]:
    """Every comparison as written, in order of appearance."""
    return (node for node in ast.walk(expression.tree) if isinstance(node, ast.Compare))


def source_of(expression: Expression, node: ast.expr) -> str:
    """The text that `node` of the tree was written as."""
    return expression.text[node.col_offset : node.end_col_offset]


# --- text to tree -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """The expression as Python text, and where each piece of it stands in the original."""

    python: str
    pieces: tuple[tuple[int, int, int], ...]  # start in python, start in text, length in text

    def offset(self, column: int) -> int:
        """The offset in the original of a column of the Python text, which the parser counts in UTF-8 bytes."""
        if not self.python.isascii():
            column = len(self.python.encode()[:column].decode(errors="ignore"))
        at = 0
        for python_start, start, length in self.pieces:
            if python_start > column:
                break
            at = start + min(column - python_start, length)
        return at


def _tokenise(text: str) -> _Source:
    if len(text) > MAX_CHARACTERS:
        message = f"an expression has at most {MAX_CHARACTERS} characters; this one has {len(text):,}"
        raise ExpressionError(text[:80], [Flaw("expression-too-long", message)])
    flaws: list[Flaw] = []
    pieces: list[tuple[int, int, int]] = []
    python: list[str] = []
    column = depth = 0
    solid = False  # whether the last token is one that another word must not touch: 0x10, 7%5, f"..."
    for token in _TOKEN.finditer(text):
        start, word, group = token.start(), token.group(), token.lastgroup
        if group == "percent":
            group = "number"
        if solid and group in {"number", "name", "text"}:
            flaws.append(Flaw("syntax", f'an operator or a space is missing before "{word[:20]}"', start, len(word)))
        solid = group in {"number", "name", "text"}
        match group:
            case "space":
                out = " " * len(word)
            case "number":
                out = _decimal(word)
                if not math.isfinite(float(out)):
                    flaws.append(Flaw("number-too-large", f"{word[:20]} is too large a number", start, len(word)))
            case "name":
                out = {"true": "True", "false": "False"}.get(word, word)
                flaws.extend(_check_word(word, start))
            case "long" if word == "==":
                out = word
            case "refused" | "long":
                flaws.append(_refused(word, start, text))
                out = " " * len(word)
            case _:
                out = word
                depth += (word == "(") - (word == ")")
                if depth > MAX_LEVELS:
                    raise ExpressionError(text, [_too_deep(start)])
        pieces.append((column, start, len(word)))
        python.append(out)
        column += len(out)
    if flaws:
        raise ExpressionError(text, flaws)
    if not text.strip():
        raise ExpressionError(text, [Flaw("empty-expression", "the expression is empty")])
    return _Source("".join(python), tuple(pieces))


def _decimal(word: str) -> str:
    """A number as Python text: 7% becomes 0.07 by moving the decimal point, since 7 / 100 is inexact."""
    number = str(Decimal(word[:-1]).scaleb(-2)) if word.endswith("%") else word
    # Python refuses leading zeros ("007"); a decimal number here never means anything else.
    return number.lstrip("0") or "0" if number.isdigit() else number


def _check_word(word: str, start: int) -> Iterator[Flaw]:
    if word.lower() in WORDS and word not in WORDS:
        yield Flaw("bad-word", f"write {word.lower()} instead of {word}", start, len(word))
    elif word in {"None", "null"}:
        message = "a condition cannot ask for a missing value; say on_missing: skip or match in the rule"
        yield Flaw("bad-word", message, start, len(word))
    elif word in {"is", "in", "lambda", "for", "await", "yield", "async", "from", "import", "del", "def", "class"}:
        way_out = "; use == to compare" if word in {"is", "in"} else ""
        yield Flaw("not-allowed", f'"{word}" is not part of the expression language{way_out}', start, len(word))


def _refused(word: str, start: int, text: str) -> Flaw:
    shown = word if word.isprintable() else f"U+{ord(word[0]):04X}"
    if not word.isascii():
        message = f'"{shown}" is not a plain character; write the expression in ASCII'
        return Flaw("bad-character", message, start, len(word))
    if word == "%" and text[:start].rstrip()[-1:].isdigit():
        return Flaw("not-allowed", 'no space between a number and its "%"', start, 1)
    why = _REFUSED.get(word)
    return Flaw("not-allowed", f'"{shown}" is not allowed here' + (f": {why}" if why else ""), start, len(word))


def _too_deep(offset: int) -> Flaw:
    return Flaw("expression-too-deep", f"an expression has at most {MAX_LEVELS} levels; split it", offset)


def _syntax_tree(text: str, source: _Source) -> ast.expr:
    try:
        # A leading space would be an indentation error; parentheses would hide a stray ")" in the text.
        lead = len(source.python) - len(source.python.lstrip())
        tree = ast.parse(source.python[lead:], mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        if not isinstance(error, SyntaxError):
            raise ExpressionError(text, [_too_deep(0)]) from None
        raise ExpressionError(text, [_syntax_flaw(text, source, lead, error)]) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            end = cast(int, node.end_col_offset) + lead
            node.col_offset = source.offset(node.col_offset + lead)
            node.end_col_offset = source.offset(end - 1) + 1 if end else 0
    return tree


def _syntax_flaw(text: str, source: _Source, lead: int, error: SyntaxError) -> Flaw:
    offset = min(source.offset((error.offset or 1) - 1 + lead), max(len(text.rstrip()) - 1, 0))
    stripped = text.rstrip()
    if text.count("(") > text.count(")"):
        offset = text.index("(")
        return Flaw("syntax", 'this "(" is never closed', offset)
    if text.count(")") > text.count("("):
        return Flaw("syntax", 'this ")" closes nothing', text.rindex(")"))
    if stripped.endswith(("and", "or", "not", "<", ">", "=", "+", "-", "*", "/", ",", "if", "else")):
        return Flaw("syntax", "the expression ends where a value should follow", max(len(stripped) - 1, 0))
    token = _TOKEN.match(text, offset)
    if token is not None and token.lastgroup == "space":
        token = _TOKEN.match(text, token.end())
    if token is None:
        return Flaw("syntax", "cannot be read as an expression", offset)
    if re.search(r"\bif\b", text) and not re.search(r"\belse\b", text):
        return Flaw("syntax", "`a if condition` needs an `else b`", text.index("if"), 2)
    message = f'cannot be read from "{token.group()}" on; is an operator missing?'
    return Flaw("syntax", message, token.start(), len(token.group()))


# --- the checks on the tree ---------------------------------------------------------------------------------------


class _Checker:
    """Walks the tree once: only allowed nodes, known names, kinds that fit. Collects every flaw."""

    def __init__(self, source: _Source, names: Mapping[str, Kind]) -> None:
        self.flaws: list[Flaw] = []
        self.read: dict[str, None] = {}
        self.kinds: dict[ast.expr, Kind] = {}
        self._source = source
        self._names = names

    def kind(self, node: ast.expr, level: int) -> Kind | None:
        """The kind of the node's value; None where a flaw made it unknowable."""
        if level > MAX_LEVELS:
            if not any(flaw.code == "expression-too-deep" for flaw in self.flaws):
                self.flaws.append(_too_deep(node.col_offset))
            return None
        check = _CHECKS.get(type(node))
        if check is None:
            return self._flaw(node, "not-allowed", f'"{self._text(node)}" is not part of the expression language')
        kind = check(self, node, level)
        if kind is not None:
            self.kinds[node] = kind
        return kind

    def _text(self, node: ast.expr) -> str:
        text = ast.unparse(node)
        return text if len(text) <= 40 else text[:37] + "..."

    def _flaw(self, node: ast.expr, code: str, message: str, name: str | None = None) -> Kind | None:
        length = max(1, cast(int, node.end_col_offset) - node.col_offset)
        self.flaws.append(Flaw(code, message, node.col_offset, length, name))
        return None

    def _want(self, node: ast.expr, want: Kind, level: int, where: str) -> bool:
        kind = self.kind(node, level)
        if kind is not None and kind != want:
            message = f"{where} needs {_A[want]}, but {_shown(node)} is {_A[kind]}"
            if kind == "flag" and want == "number" and isinstance(node, ast.Compare):
                message += "; put parentheses where you mean them"
            self._flaw(node, "wrong-kind", message)
        return kind == want

    def constant(self, node: ast.Constant, _level: int) -> Kind | None:
        if isinstance(node.value, bool):
            return "flag"
        if isinstance(node.value, int | float):
            node.value = float(node.value)
            return "number"
        return "text"

    def name(self, node: ast.Name, _level: int) -> Kind | None:
        self.read.setdefault(node.id)
        kind = self._names.get(node.id)
        if kind is None:
            if node.id in FUNCTIONS:
                return self._flaw(node, "syntax", f"{node.id} is a function; write {node.id}(...)")
            near = suggest(node.id, self._names)
            message = f'unknown name "{node.id}"' + (f'; did you mean "{near}"?' if near else "")
            self._flaw(node, "unknown-fact", message, node.id)
        return kind

    def unary(self, node: ast.UnaryOp, level: int) -> Kind | None:
        if isinstance(node.op, ast.Not):
            return "flag" if self._want(node.operand, "flag", level + 1, "not") else None
        if isinstance(node.op, ast.UAdd):
            return self._flaw(node, "not-allowed", "a number needs no plus sign")
        return "number" if self._want(node.operand, "number", level + 1, "a sign") else None

    def binary(self, node: ast.BinOp, level: int) -> Kind | None:
        # a + b + c is one level, however long
        same = isinstance(node.left, ast.BinOp) and _rank(node.left.op) == _rank(node.op)
        sign = _SIGNS.get(type(node.op))
        if sign is None:
            return self._flaw(node, "not-allowed", f"{_shown(node)} is not part of the expression language")
        left = self._want(node.left, "number", level if same else level + 1, sign)
        right = self._want(node.right, "number", level + 1, sign)
        return "number" if left and right else None

    def boolean(self, node: ast.BoolOp, level: int) -> Kind | None:
        word = "and" if isinstance(node.op, ast.And) else "or"
        fits = [self._want(value, "flag", level + 1, word) for value in node.values]
        return "flag" if all(fits) else None

    def compare(self, node: ast.Compare, level: int) -> Kind | None:
        sides = [node.left, *node.comparators]
        kinds = [self.kind(side, level + 1) for side in sides]
        fits = None not in kinds
        for op, left, right, (a, b) in zip(node.ops, kinds, kinds[1:], pairwise(sides), strict=False):
            if left is None or right is None:
                continue
            if "flag" in (left, right):
                flag = a if left == "flag" else b
                if isinstance(flag, ast.Compare):
                    message = "a comparison cannot be compared; put `and` between the two"
                else:
                    message = f"{_shown(flag)} is a flag: write it alone, or with not before it"
                self._flaw(flag, "wrong-kind", message)
                fits = False
            elif left != right:
                message = f"{_shown(a)} is {_A[left]} and {_shown(b)} is {_A[right]}: they cannot be compared"
                self._flaw(b, "wrong-kind", message)
                fits = False
            elif left == "text" and not isinstance(op, ast.Eq | ast.NotEq):
                self._flaw(b, "wrong-kind", "text can only be compared with == or !=")
                fits = False
        return "flag" if fits else None

    def choice(self, node: ast.IfExp, level: int) -> Kind | None:
        test = self._want(node.test, "flag", level + 1, "if")
        body, orelse = self.kind(node.body, level + 1), self.kind(node.orelse, level + 1)
        if body is None or orelse is None or not test:
            return None
        if body != orelse:
            message = f"both sides of if/else must be of one kind; {_shown(node.orelse)} is {_A[orelse]}"
            return self._flaw(node.orelse, "wrong-kind", message)
        if body == "text":
            return self._flaw(node, "wrong-kind", "if/else chooses between numbers or between conditions, not text")
        return body

    def call(self, node: ast.Call, level: int) -> Kind | None:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            shown = self._text(node.func)
            near = suggest(shown, FUNCTIONS)
            hint = f'did you mean "{near}"?' if near else allowed(FUNCTIONS)
            return self._flaw(node.func, "unknown-function", f'"{shown}" is not a function; {hint}')
        name = node.func.id
        fits = all([self._want(argument, "number", level + 1, name) for argument in node.args])  # noqa: C419  # every flaw, not the first
        least, most = FUNCTIONS[name]
        if not least <= len(node.args) <= most or node.keywords:
            takes = f"{least}" if least == most else f"{least} to {most}"
            message = f"{name} takes {takes} argument{'' if most == 1 else 's'}, separated by commas"
            return self._flaw(node, "wrong-arguments", message)
        if name == "round" and len(node.args) == 2:
            digits = node.args[1]
            if not (isinstance(digits, ast.Constant) and digits.value in range(11)):
                return self._flaw(digits, "wrong-arguments", "round's second argument is a whole number from 0 to 10")
        return "number" if fits else None


_CHECKS: Mapping[type[ast.expr], Callable[[_Checker, ast.expr, int], Kind | None]] = cast(
    Mapping[type[ast.expr], Callable[[_Checker, ast.expr, int], Kind | None]],
    {
        ast.Constant: _Checker.constant,
        ast.Name: _Checker.name,
        ast.UnaryOp: _Checker.unary,
        ast.BinOp: _Checker.binary,
        ast.BoolOp: _Checker.boolean,
        ast.Compare: _Checker.compare,
        ast.IfExp: _Checker.choice,
        ast.Call: _Checker.call,
    },
)

_SIGNS: Mapping[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_A: Mapping[Kind, str] = {"number": "a number", "flag": "true or false", "text": "text"}


def _shown(node: ast.expr) -> str:
    text = ast.unparse(node)
    return f"`{text if len(text) <= 40 else text[:37] + '...'}`"


def _rank(op: ast.operator) -> int:
    return 0 if isinstance(op, ast.Add | ast.Sub) else 1


def _wrong_result(text: str, kind: Kind | None, expect: Kind) -> Flaw:
    what = {"number": "a number", "flag": "a flag (true or false)", "text": "text"}
    if expect == "flag":
        message = f"a condition must be true or false, but this is {what[cast(Kind, kind)]}; compare it with something"
    else:
        message = f"this must be {what[expect]}, but it is {what[cast(Kind, kind)]}"
    return Flaw("wrong-kind", message, 0, max(1, len(text.strip())))


# --- normalising --------------------------------------------------------------------------------------------------

_OPPOSITE: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


def _truth(node: ast.expr, want: bool, kinds: Mapping[ast.expr, Kind]) -> ast.expr:
    """A tree that is true exactly where `node` is certainly `want`."""

    def truth(part: ast.expr) -> ast.expr:
        return _truth(part, want, kinds)

    if isinstance(node, ast.Constant):
        return ast.Constant(node.value is want)
    if isinstance(node, ast.Name):
        return _compare(node, ast.Eq(), ast.Constant(want))
    if isinstance(node, ast.UnaryOp):
        return _truth(node.operand, not want, kinds)
    if isinstance(node, ast.BoolOp):
        return _join(isinstance(node.op, ast.And) == want, [truth(value) for value in node.values])
    if isinstance(node, ast.IfExp):
        taken = [_truth(node.test, True, kinds), truth(node.body)]
        other = [_truth(node.test, False, kinds), truth(node.orelse)]
        return _join(False, [_join(True, taken), _join(True, other)])
    assert isinstance(node, ast.Compare)
    sides = [node.left, *node.comparators]
    links = [
        _link(left, type(op) if want else _OPPOSITE[type(op)], right, kinds)
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
    ]
    return _join(want, links)


def _link(left: ast.expr, op: type[ast.cmpop], right: ast.expr, kinds: Mapping[ast.expr, Kind]) -> ast.expr:
    text = kinds[left] == "text"
    a, b = (left, right) if text else (_number(left, kinds), _number(right, kinds))
    if op is ast.NotEq and not text:  # NaN differs from everything; what is unknown does not
        return _join(False, [_compare(a, ast.Lt(), b), _compare(a, ast.Gt(), b)])
    link = _compare(a, op(), b)
    unsure = [side for side in (a, b) if isinstance(side, ast.Name)] if text else []
    if not unsure or (op is ast.Eq and len(unsure) == 1):
        return link
    return _join(True, [link, *(_compare(side, ast.NotEq(), ast.Constant(None)) for side in unsure)])


def _number(node: ast.expr, kinds: Mapping[ast.expr, Kind]) -> ast.expr:
    """The same value with its conditions normalised: where a condition is unknown, so is the choice."""
    if isinstance(node, ast.BinOp):
        return ast.BinOp(_number(node.left, kinds), node.op, _number(node.right, kinds))
    if isinstance(node, ast.UnaryOp):
        return ast.UnaryOp(node.op, _number(node.operand, kinds))
    if isinstance(node, ast.Call):
        return ast.Call(node.func, [_number(argument, kinds) for argument in node.args], [])
    if isinstance(node, ast.IfExp):
        otherwise = ast.IfExp(_truth(node.test, False, kinds), _number(node.orelse, kinds), ast.Constant(math.nan))
        return ast.IfExp(_truth(node.test, True, kinds), _number(node.body, kinds), otherwise)
    return node


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.expr:
    return ast.Compare(left, [op], [right])


def _join(every: bool, parts: list[ast.expr]) -> ast.expr:
    return parts[0] if len(parts) == 1 else ast.BoolOp(ast.And() if every else ast.Or(), parts)
