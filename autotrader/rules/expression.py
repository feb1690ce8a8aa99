"""Expressions: a strict subset of Python's, checked while it is read, before anything evaluates.

Reading an expression also normalises it, into trees without `not` and without chains. A condition has two: `match` is
true exactly where the condition certainly holds, `miss` where it certainly does not; where neither is true, it is
unknown. Every comparison in them is false for NaN and None, so evaluators need no special case for unknowns.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, cast

from autotrader.rules.facts import Kind
from autotrader.rules.flaws import FLAW_CODES, ExpressionError, Flaw
from autotrader.rules.problems import allowed, suggest
from autotrader.rules.tokens import MAX_CHARACTERS, WORDS, Token, number, tokenise

__all__ = [
    "FLAW_CODES",
    "FUNCTIONS",
    "MAX_CHARACTERS",
    "MAX_LEVELS",
    "Atom",
    "Expression",
    "ExpressionError",
    "Flaw",
    "comparisons",
    "parse",
    "source_of",
]

MAX_LEVELS = 20
# Nodes of the normalised trees. Only choices within conditions within choices get here: each doubles what is in it.
_MAX_NODES = 3000
_MAX_SUGGESTIONS = 10  # each takes a look at every known name

# name -> how many arguments it takes
FUNCTIONS: Mapping[str, tuple[int, int]] = {
    "abs": (1, 1),
    "min": (2, 20),
    "max": (2, 20),
    "clip": (3, 3),
    "round": (1, 2),
}


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """What conditions are made of: a comparison, or a flag by its name.

    left_text, right_text: as written. operator, right, right_text: None for a flag.
    left, right: normalised values. match, miss: normalised, as an Expression's.
    """

    left_text: str
    operator: str | None
    right_text: str | None
    left: ast.expr
    right: ast.expr | None
    match: ast.expr
    miss: ast.expr


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A checked expression.

    reads: the names it reads with their kinds, in order of appearance.
    tree:  the syntax tree as written, numbers as floats; offsets are those of `text`.
    value: for numbers and text, the normalised tree; for conditions, the same as `match`.
    match, miss: for conditions, see the module's text; for others, None.
    atoms: every comparison and flag in it, in order of appearance; a chain a < b < c is two.
    """

    text: str
    kind: Kind
    reads: Mapping[str, Kind]
    tree: ast.expr
    value: ast.expr
    match: ast.expr | None = None
    miss: ast.expr | None = None
    atoms: tuple[Atom, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.reads)


def parse(text: str, names: Mapping[str, Kind], expect: Kind | None = None) -> Expression:
    """The checked expression, its names taken from `names`, its result of the kind `expect` where one is asked for.

    Raises ExpressionError with every flaw found, in order of appearance.
    """
    reader = _Reader(text, names)
    part = reader.whole()
    if not reader.flaws and expect is not None and part.kind != expect:
        reader.flaws.append(_wrong_result(part, expect))
    if reader.flaws:
        raise ExpressionError(text, sorted(reader.flaws, key=lambda flaw: flaw.offset))
    atoms = tuple(atom for _, atom in sorted(reader.atoms, key=lambda item: item[0]))
    match = part.value if part.kind == "flag" else None
    return Expression(text, cast(Kind, part.kind), reader.reads, part.node, part.value, match, part.miss, atoms)


def comparisons(expression: Expression) -> Iterator[ast.Compare]:
    """Every comparison as written, in order of appearance."""
    found = [node for node in ast.walk(expression.tree) if isinstance(node, ast.Compare)]
    return iter(sorted(found, key=lambda node: node.col_offset))


def source_of(expression: Expression, node: ast.expr) -> str:
    """The text that `node` of the tree was written as."""
    return expression.text[node.col_offset : node.end_col_offset]


# --- reading ------------------------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """A piece of the expression, read and normalised.

    kind:  None where a flaw made it unknowable. start, end: in the text, its parentheses included.
    level: how deep it is nested. nodes: how many an evaluation visits.
    value: normalised; of a flag, where it certainly holds. miss: of a flag, where it certainly does not.
    """

    node: ast.expr
    kind: Kind | None
    start: int
    end: int
    level: int
    nodes: int
    value: ast.expr
    miss: ast.expr | None = None


_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGN = range(2, 9)
_CHOICE = 1

# How strongly a word that stands between two operands binds; Python's order.
_STRENGTH: Mapping[str, int] = {
    "if": _CHOICE,
    "or": _OR,
    "and": _AND,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), _COMPARISON),
    **dict.fromkeys("+-", _SUM),
    **dict.fromkeys("*/", _PRODUCT),
}
_ARITHMETIC: Mapping[str, ast.operator] = {"+": ast.Add(), "-": ast.Sub(), "*": ast.Mult(), "/": ast.Div()}
_COMPARE: Mapping[str, ast.cmpop] = {
    "<": ast.Lt(),
    "<=": ast.LtE(),
    ">": ast.Gt(),
    ">=": ast.GtE(),
    "==": ast.Eq(),
    "!=": ast.NotEq(),
}
_OPPOSITE: Mapping[str, str] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_A: Mapping[Kind, str] = {"number": "a number", "flag": "true or false", "text": "text"}


class _Reader:
    """Reads the tokens once, from left to right, by the strength of the operators."""

    def __init__(self, text: str, names: Mapping[str, Kind]) -> None:
        self.flaws: list[Flaw] = []
        self.reads: dict[str, Kind] = {}
        self.atoms: list[tuple[int, Atom]] = []
        self._text = text
        self._names = names
        self._tokens = iter(tokenise(text))
        self._token = next(self._tokens)
        self._before = self._token
        self._nested = 0
        self._parentheses = 0

    def whole(self) -> _Part:
        part = self._expression(_CHOICE)
        if self._token.kind != "end":
            self._stuck()
        return part

    def _next(self) -> Token:
        """The current token, which is taken."""
        taken = self._token
        if taken.kind != "end":
            self._before, self._token = taken, next(self._tokens)
        return taken

    def _expression(self, least: int) -> _Part:
        """All that follows and binds at least so strongly."""
        self._nested += 1
        if self._nested > 2 * MAX_LEVELS + 1:
            self._too_deep(self._token.start)
        part = self._operand(least)
        while True:
            strength = _STRENGTH.get(self._token.text, 0)
            if strength < least or strength == 0:
                break
            if strength == _COMPARISON:
                part = self._comparison(part)
            elif strength > _COMPARISON:
                operator = self._next()
                part = self._arithmetic(part, operator, self._expression(strength + 1))
            elif strength == _CHOICE:
                part = self._choice(part)
            else:
                part = self._join(part, strength)
            if part.nodes > _MAX_NODES:
                message = "too many choices within conditions; split the expression"
                self._stop("expression-too-deep", message, part.start, part.end)
            if part.level > MAX_LEVELS:
                self._too_deep(part.start)
        self._nested -= 1
        return part

    # --- operands -----------------------------------------------------------------------------------------------

    def _operand(self, least: int) -> _Part:
        token = self._next()
        kind, word = token.kind, token.text
        if kind == "name":
            if word == "not":
                return self._negation(token, least)
            if word in WORDS and word not in {"true", "false"}:
                self._missing(token)
            if self._token.text == "(":
                return self._call(token)
            if word in WORDS:
                return self._flag_constant(token)
            return self._name(token)
        if kind == "number":
            constant = _placed(ast.Constant(number(word)), token.start, token.end)
            return _Part(constant, "number", token.start, token.end, 1, 1, constant)
        if kind == "text":
            constant = _placed(ast.Constant(word[1:-1]), token.start, token.end)
            return _Part(constant, "text", token.start, token.end, 1, 1, constant)
        if word == "(":
            return self._in_parentheses(token)
        if word == "-":
            return self._sign(token)
        if word == "+":
            self._stop("not-allowed", "a number needs no plus sign", token.start, token.end)
        return self._missing(token)

    def _flag_constant(self, token: Token) -> _Part:
        constant = _placed(ast.Constant(token.text == "true"), token.start, token.end)
        opposite = ast.Constant(token.text != "true")
        return _Part(constant, "flag", token.start, token.end, 1, 2, constant, opposite)

    def _name(self, token: Token) -> _Part:
        word, start, end = token.text, token.start, token.end
        node = _placed(ast.Name(word, _LOAD), start, end)
        kind = self._names.get(word)
        if kind is None:
            if word in FUNCTIONS:
                self._flaw("syntax", f"{word} is a function; write {word}(...)", start, end)
            else:
                near = suggest(word, self._names) if len(self.flaws) < _MAX_SUGGESTIONS else None
                message = f'unknown name "{word}"' + (f'; did you mean "{near}"?' if near else "")
                self.flaws.append(Flaw("unknown-fact", message, start, end - start, word))
            return _Part(node, None, start, end, 1, 1, node)
        self.reads[word] = kind
        if kind != "flag":
            return _Part(node, kind, start, end, 1, 1, node)
        match, miss = (ast.Compare(node, [_EQ], [ast.Constant(want)]) for want in (True, False))
        self.atoms.append((start, Atom(word, None, None, node, None, match, miss)))
        return _Part(node, kind, start, end, 1, 6, match, miss)

    def _in_parentheses(self, opening: Token) -> _Part:
        part = self._expression_until_closed(opening)
        closing = self._closed(opening)
        return part._replace(start=opening.start, end=closing.end)

    def _expression_until_closed(self, opening: Token) -> _Part:
        self._parentheses += 1
        if self._parentheses > MAX_LEVELS:
            self._too_deep(opening.start)
        if self._token.kind == "end":
            self._stop("syntax", 'this "(" is never closed', opening.start, opening.end)
        part = self._expression(_CHOICE)
        self._parentheses -= 1
        return part

    def _closed(self, opening: Token) -> Token:
        if self._token.kind == "end":
            self._stop("syntax", 'this "(" is never closed', opening.start, opening.end)
        if self._token.text != ")":
            self._stuck()
        return self._next()

    def _sign(self, sign: Token) -> _Part:
        part = self._expression(_SIGN)
        fits = self._want(part, "number", "a sign")
        node = _placed(ast.UnaryOp(_MINUS, part.node), sign.start, part.end)
        value = node if part.value is part.node else ast.UnaryOp(_MINUS, part.value)
        kind: Kind | None = "number" if fits else None
        return self._shallow(_Part(node, kind, sign.start, part.end, part.level + 1, part.nodes + 1, value))

    def _negation(self, word: Token, least: int) -> _Part:
        if least > _NOT:
            message = "put `not` before the whole comparison, or parentheses around it"
            self._stop("syntax", message, word.start, word.end)
        part = self._expression(_NOT)
        fits = self._want(part, "flag", "not")
        node = _placed(ast.UnaryOp(ast.Not(), part.node), word.start, part.end)
        kind: Kind | None = "flag" if fits else None
        value, miss = part.miss or part.value, part.value
        return self._shallow(_Part(node, kind, word.start, part.end, part.level + 1, part.nodes, value, miss))

    def _call(self, word: Token) -> _Part:
        name, opening = word.text, self._next()
        arguments: list[_Part] = []
        while self._token.text != ")" or arguments:
            arguments.append(self._expression_until_closed(opening))
            if self._token.text != ",":
                break
            self._next()
        end = self._closed(opening).end
        function = _placed(ast.Name(name, _LOAD), word.start, word.end)
        node = _placed(ast.Call(function, [part.node for part in arguments], []), word.start, end)
        value = ast.Call(function, [part.value for part in arguments], [])
        level, nodes = (max((part.level for part in arguments), default=0) + 1, sum(part.nodes for part in arguments))
        kind: Kind | None = "number" if self._fits(word, end, arguments) else None
        return self._shallow(_Part(node, kind, word.start, end, level, nodes + 1, value))

    def _fits(self, word: Token, end: int, arguments: list[_Part]) -> bool:
        """Whether these are the arguments of this function."""
        name = word.text
        if name not in FUNCTIONS:
            near = suggest(name, FUNCTIONS)
            hint = f'did you mean "{near}"?' if near else allowed(FUNCTIONS)
            return self._flaw("unknown-function", f'"{name}" is not a function; {hint}', word.start, word.end)
        numbers = [self._want(part, "number", name) for part in arguments]
        least, most = FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            takes = f"{least}" if least == most else f"{least} to {most}"
            message = f"{name} takes {takes} argument{'' if most == 1 else 's'}, separated by commas"
            return self._flaw("wrong-arguments", message, word.start, end)
        if name == "round" and len(arguments) == 2 and all(numbers):
            digits = arguments[1]
            if not (isinstance(digits.node, ast.Constant) and digits.node.value in range(11)):
                message = "round's second argument is a whole number from 0 to 10"
                return self._flaw("wrong-arguments", message, digits.start, digits.end)
        return all(numbers)

    # --- what stands between operands ---------------------------------------------------------------------------

    def _arithmetic(self, left: _Part, operator: Token, right: _Part) -> _Part:
        fits = self._want(left, "number", operator.text)
        fits = self._want(right, "number", operator.text) and fits
        op = _ARITHMETIC[operator.text]
        node = _placed(ast.BinOp(left.node, op, right.node), left.start, right.end)
        plain = left.value is left.node and right.value is right.node
        value = node if plain else ast.BinOp(left.value, op, right.value)
        # a + b + c is one level, however long
        inner = left.node.op if isinstance(left.node, ast.BinOp) else None
        same = inner is not None and isinstance(inner, ast.Add | ast.Sub) == (operator.text in "+-")
        level = max(left.level if same else left.level + 1, right.level + 1)
        kind: Kind | None = "number" if fits else None
        return _Part(node, kind, left.start, right.end, level, left.nodes + right.nodes + 1, value)

    def _join(self, first: _Part, strength: int) -> _Part:
        """and, or: as many as there are in a row."""
        word = "and" if strength == _AND else "or"
        parts = [first]
        while self._token.text == word:
            self._next()
            parts.append(self._expression(strength + 1))
        fits = all([self._want(part, "flag", word) for part in parts])  # noqa: C419  # every flaw, not the first
        both, either = (ast.And(), ast.Or()) if word == "and" else (ast.Or(), ast.And())
        node = _placed(ast.BoolOp(both, [part.node for part in parts]), first.start, parts[-1].end)
        match = ast.BoolOp(both, [part.value for part in parts])
        miss = ast.BoolOp(either, [part.miss or part.value for part in parts])
        level, nodes = max(part.level for part in parts) + 1, sum(part.nodes for part in parts) + 2
        return _Part(node, "flag" if fits else None, first.start, parts[-1].end, level, nodes, match, miss)

    def _comparison(self, first: _Part) -> _Part:
        """A comparison or a chain of them."""
        sides, operators = [first], []
        while self._token.text in _COMPARE:
            operators.append(self._next().text)
            sides.append(self._expression(_COMPARISON + 1))
        last = sides[-1]
        level = max(part.level for part in sides) + 1
        ops = [_COMPARE[operator] for operator in operators]
        node = _placed(ast.Compare(first.node, ops, [part.node for part in sides[1:]]), first.start, last.end)
        links = list(zip(sides, operators, sides[1:], strict=False))
        if not all([self._comparable(*link) for link in links]):  # noqa: C419  # every flaw, not the first
            return _Part(node, None, first.start, last.end, level, 1, node)
        found = []
        nodes = 2
        for left, operator, right in links:
            match, miss = _link(left, operator, right), _link(left, _OPPOSITE[operator], right)
            texts = self._text[left.start : left.end], self._text[right.start : right.end]
            found.append(Atom(texts[0], operator, texts[1], left.value, right.value, match, miss))
            self.atoms.append((left.start, found[-1]))
            nodes += (3 if operator in {"==", "!="} else 2) * (left.nodes + right.nodes) + 4
        if len(found) == 1:
            match, miss = found[0].match, found[0].miss
        else:
            match = ast.BoolOp(ast.And(), [atom.match for atom in found])
            miss = ast.BoolOp(ast.Or(), [atom.miss for atom in found])
        return _Part(node, "flag", first.start, last.end, level, nodes, match, miss)

    def _comparable(self, left: _Part, operator: str, right: _Part) -> bool:
        if left.kind is None or right.kind is None:
            return False
        if "flag" in (left.kind, right.kind):
            flag = left if left.kind == "flag" else right
            message = f"{self._shown(flag)} is a flag: write it alone, or with not before it"
            if isinstance(flag.node, ast.Compare):
                message = "a comparison cannot be compared; put `and` between the two"
            return self._flaw("wrong-kind", message, flag.start, flag.end)
        if left.kind != right.kind:
            message = f"{self._shown(left)} is {_A[left.kind]} and {self._shown(right)} is {_A[right.kind]}"
            return self._flaw("wrong-kind", f"{message}: they cannot be compared", right.start, right.end)
        if left.kind == "text" and operator not in {"==", "!="}:
            return self._flaw("wrong-kind", "text can only be compared with == or !=", right.start, right.end)
        return True

    def _choice(self, body: _Part) -> _Part:
        word = self._next()
        test = self._expression(_OR)
        if self._token.text != "else":
            if self._token.kind not in {"end", "operator"} or self._token.text == "(":
                self._stuck()
            self._stop("syntax", "`a if condition` needs an `else b`", word.start, word.end)
        self._next()
        orelse = self._expression(_CHOICE)
        level = max(body.level, test.level, orelse.level) + 1
        node = _placed(ast.IfExp(test.node, body.node, orelse.node), body.start, orelse.end)
        broken = _Part(node, None, body.start, orelse.end, level, 1, node)
        if not self._want(test, "flag", "if") or body.kind is None or orelse.kind is None:
            return broken
        if body.kind != orelse.kind:
            message = f"both sides of if/else must be of one kind; {self._shown(orelse)} is {_A[orelse.kind]}"
            self._flaw("wrong-kind", message, orelse.start, orelse.end)
            return broken
        holds, fails, nodes = test.value, cast(ast.expr, test.miss), test.nodes + body.nodes + orelse.nodes
        if body.kind == "number":  # where the condition is unknown, so is the choice
            value = ast.IfExp(holds, body.value, ast.IfExp(fails, orelse.value, ast.Constant(math.nan)))
            return _Part(node, "number", body.start, orelse.end, level, nodes + 3, value)
        if body.kind == "text":
            message = "if/else chooses between numbers or between conditions, not text"
            self._flaw("wrong-kind", message, body.start, orelse.end)
            return broken
        match = _either(_both(holds, body.value), _both(fails, orelse.value))
        miss = _either(_both(holds, cast(ast.expr, body.miss)), _both(fails, cast(ast.expr, orelse.miss)))
        return _Part(node, "flag", body.start, orelse.end, level, nodes + test.nodes + 6, match, miss)

    # --- flaws --------------------------------------------------------------------------------------------------

    def _want(self, part: _Part, want: Kind, where: str) -> bool:
        if part.kind is not None and part.kind != want:
            message = f"{where} needs {_A[want]}, but {self._shown(part)} is {_A[part.kind]}"
            if want == "number" and isinstance(part.node, ast.Compare):
                message += "; put parentheses where you mean them"
            self._flaw("wrong-kind", message, part.start, part.end)
        return part.kind == want

    def _flaw(self, code: str, message: str, start: int, end: int) -> bool:
        """Notes a flaw that reading can go on after; always False, so that a check can return it."""
        self.flaws.append(Flaw(code, message, start, end - start))
        return False

    def _stop(self, code: str, message: str, start: int, end: int) -> NoReturn:
        """What follows cannot be told: this flaw alone is reported, since others may come of it."""
        raise ExpressionError(self._text, [Flaw(code, message, start, max(1, end - start))])

    def _shallow(self, part: _Part) -> _Part:
        if part.level > MAX_LEVELS:
            self._too_deep(part.start)
        return part

    def _too_deep(self, start: int) -> NoReturn:
        message = f"an expression has at most {MAX_LEVELS} levels; split it"
        self._stop("expression-too-deep", message, start, start + 1)

    def _missing(self, token: Token) -> NoReturn:
        """A value should stand where `token` does."""
        if token.kind == "end":
            last = self._before
            self._stop("syntax", "the expression ends where a value should follow", last.start, last.end)
        if token.text == "else":
            self._stop("syntax", 'a value is missing before this "else"', token.start, token.end)
        if token.text == ")" and not self._parentheses:
            self._stop("syntax", 'this ")" closes nothing', token.start, token.end)
        self._stop("syntax", f'a value is missing before "{token.text}"', token.start, token.end)

    def _stuck(self) -> NoReturn:
        """The current token does not go on from what was read."""
        token = self._token
        messages = {
            ")": 'this ")" closes nothing',
            ",": "a comma stands between the arguments of a function only",
            "else": 'this "else" has no "if" before it',
            "not": "`not` stands before a whole condition; for two, put `and` or `or` between them",
        }
        message = f'cannot be read from "{token.text[:20]}" on; is an operator missing?'
        self._stop("syntax", messages.get(token.text, message), token.start, token.end)

    def _shown(self, part: _Part) -> str:
        text = " ".join(self._text[part.start : part.end].split())
        return f"`{text if len(text) <= 40 else text[:37] + '...'}`"


def _wrong_result(part: _Part, expect: Kind) -> Flaw:
    what = {"number": "a number", "flag": "a flag (true or false)", "text": "text"}
    given = what[cast(Kind, part.kind)]
    if expect == "flag":
        message = f"a condition must be true or false, but this is {given}; compare it with something"
    else:
        message = f"this must be {what[expect]}, but it is {given}"
    return Flaw("wrong-kind", message, part.start, part.end - part.start)


# --- trees --------------------------------------------------------------------------------------------------------

_AS_GIVEN = (ast.Name, ast.IfExp)  # trees whose number may be what the facts hold, not a result
_LOAD, _MINUS, _EQ = ast.Load(), ast.USub(), _COMPARE["=="]


def _placed(node: ast.expr, start: int, end: int) -> ast.expr:
    node.col_offset = start
    node.end_col_offset = end
    return node


def _link(left: _Part, operator: str, right: _Part) -> ast.expr:
    """A tree that is true where the comparison certainly holds."""
    a, b = left.value, right.value
    if left.kind == "number":
        if operator == "!=":  # NaN differs from everything; what is unknown does not
            return _either(ast.Compare(a, [_COMPARE["<"]], [b]), ast.Compare(a, [_COMPARE[">"]], [b]))
        if operator == "==" and isinstance(a, _AS_GIVEN) and isinstance(b, _AS_GIVEN):  # None equals None
            return _both(ast.Compare(a, [_COMPARE["<="]], [b]), ast.Compare(a, [_COMPARE[">="]], [b]))
        return ast.Compare(a, [_COMPARE[operator]], [b])
    link = ast.Compare(a, [_COMPARE[operator]], [b])
    unsure = [side for side in (a, b) if isinstance(side, ast.Name)]
    if not unsure or (operator == "==" and len(unsure) == 1):
        return link
    known = [ast.Compare(side, [_COMPARE["!="]], [ast.Constant(None)]) for side in unsure]
    return ast.BoolOp(ast.And(), [link, *known])


def _both(a: ast.expr, b: ast.expr) -> ast.expr:
    return ast.BoolOp(ast.And(), [a, b])


def _either(a: ast.expr, b: ast.expr) -> ast.expr:
    return ast.BoolOp(ast.Or(), [a, b])
