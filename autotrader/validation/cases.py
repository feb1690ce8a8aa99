"""Rule cases: what a decision must be, given these facts. From config/cases/*.yaml to cases, or to all problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, Literal, cast

from autotrader.core.rulebook import Rulebook
from autotrader.core.strategy import Direction
from autotrader.rules.decision import FAIL
from autotrader.rules.document import Document, DocumentError, Path
from autotrader.rules.facts import Fact, Scalar, Stage
from autotrader.rules.problems import Problem, allowed, suggest
from autotrader.rules.ruleset import RuleSet, ValueSet
from autotrader.validation.json_schema import Schema, checking_form
from autotrader.validation.structure import check_structure, read_document
from autotrader.vocabulary import DIRECTIONS, known_at, stages

CASES_FOLDER = "cases"
SCHEMA = "cases.schema.json"
NO_RULE = "none"  # `rule: none`: no rule decided
UNTESTED = frozenset({"signal"})  # judged by strategies, not by a rule set

# What a case may be told of, beside what any file of the configuration may.
CASE_CODES: Mapping[str, str] = {
    "case-stage": "A case says of no stage, nor does its file.",
    "case-strategy": "A case names no strategy, an unknown one, or one for which its stage decides nothing.",
    "case-direction": "A case does not say its side, or changes it from bar to bar.",
    "case-unknown-fact": "A given name is no fact of the stage.",
    "case-wrong-kind": "A fact is given a value of another kind: a text for a number and the like.",
    "case-unknown-word": "A fact is given a word that it can never be.",
    "case-out-of-range": "A fact is given a number that it can never be.",
    "case-unknown-outcome": "A case expects what cannot come out of its stage.",
    "case-unknown-rule": "A case expects a rule or value that its stage does not have.",
    "case-unused-key": "A case says something that its stage has not: a value, a quantity, several bars.",
    "case-expects-nothing": "A case does not say what it expects.",
    "case-repeated-name": "Two cases of a file have the same name.",
}

Rules = RuleSet | ValueSet


@dataclass(frozen=True, slots=True)
class Case:
    """One case, checked against its configuration.

    line:     where its name stands. bars: the given facts, once for each bar; one bar where the stage has no bars.
    strategy, direction: whose values hold; None at the stage regime.
    outcome, rule, value, quantity: what is expected, as far as it is said. tolerance: of the value, either way.
    """

    name: str
    file: str
    line: int
    stage: str
    strategy: str | None
    direction: Direction | None
    bars: tuple[Mapping[str, Scalar], ...]
    outcome: str | None
    rule: str | None
    value: float | None
    tolerance: float
    quantity: int | None


@dataclass(frozen=True, slots=True)
class LoadedCases:
    """The sound cases by file, what is wrong with the others, and the text of each file for showing it."""

    files: Mapping[str, tuple[Case, ...]]
    problems: tuple[Problem, ...]
    sources: Mapping[str, str]

    def exit_code(self) -> int:
        """0 clean, 1 problems, 2 unreadable."""
        if any(problem.code == "unreadable" for problem in self.problems):
            return 2
        return 1 if self.problems else 0


def load_cases(paths: Sequence[FilePath], rulebook: Rulebook) -> LoadedCases:
    """The cases of these files, checked against a configuration."""
    files: dict[str, tuple[Case, ...]] = {}
    problems: list[Problem] = []
    sources: dict[str, str] = {}
    schema = checking_form(cases_schema())
    for path in paths:
        try:
            document: Document | None = read_document(path)
        except DocumentError as error:
            document = error.document
            problems += error.problems
            sources[str(path)] = error.text
        if document is not None:
            reader = _Reader(document, rulebook, schema)
            files[str(path)] = tuple(reader.cases())
            problems += reader.problems
            sources[str(path)] = document.text
    return LoadedCases(files, tuple(sorted(set(problems))), sources)


def rule_sets(rulebook: Rulebook) -> dict[str, Rules]:
    """Everything that cases can judge by, in the order of the day: stage, or "group KEY" of an entry group -> rules."""
    return {
        "regime": rulebook.regime,
        "eligible": rulebook.eligible,
        "score": rulebook.score,
        "gap_filter": rulebook.gap_filter,
        **{f"group {key}": rules for key, rules in rulebook.confirmation.items()},
        "limits": rulebook.limits,
        "reentry": rulebook.reentry,
        "stop_distance": rulebook.stop_distance,
        "sizing": rulebook.sizing,
        "scale": rulebook.scale,
        "order": rulebook.order,
        "protective_stop": rulebook.protective_stop,
        "exit": rulebook.exit,
    }


def judging(rulebook: Rulebook, stage: str, strategy: str | None) -> list[str]:
    """The keys of the rule sets that judge a case of this stage; none for a strategy whose entry group has no rules."""
    if stage == "sizing":
        return ["sizing", "scale", "order"]
    key = f"group {rulebook.group_of(strategy or '')}" if stage == "confirmation" else stage
    return [key] if key in rule_sets(rulebook) else []


def cases_schema() -> Schema:
    """The JSON Schema of a file of cases, for editors; facts that the configuration declares may stand in it too."""
    every = {name: fact for stage in stages().values() for name, fact in stage.facts.items()}
    scalar, given = {"$ref": "#/$defs/Scalar"}, {"$ref": "#/$defs/Given"}
    number = {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/Percent"}]}
    shared: Schema = {
        "stage": {
            "enum": [name for name in stages() if name not in UNTESTED],
            "description": "Whose rules judge the case; autotrader facts lists the stages.",
        },
        "strategy": {"type": "string", "description": "The strategy whose values hold; not at the stage regime."},
        "given": given,
    }
    case: Schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "description": "The sentence that the case says."},
            **shared,
            "bars": {
                "description": "exit: for how many minute bars the facts hold, or what changes against given on each.",
                "anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000},
                          {"type": "array", "minItems": 1, "items": given}],
            },
            "expect": {"type": "string", "description": "The outcome on the last bar."},
            "rule": {"type": "string", "description": "The rule or value that decides, one of those that match where "
                     "all are reported; none: no rule decides."},
            "value": {**number, "description": "The number, exactly."},
            "about": {**number, "description": "The number, to the digits written."},
            "quantity": {"type": "integer", "description": "sizing: whole shares."},
        },
    }  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "What decisions must be, given these facts: autotrader test judges them by the configuration.",
        "type": "object",
        "additionalProperties": False,
        "required": ["cases"],
        "properties": {**shared, "cases": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Case"}}},
        "$defs": {
            "Case": case,
            "Given": {
                "type": "object",
                "description": "Facts by name; null is unknown, and so is what is not given.",
                "properties": {name: {**scalar, "description": fact.doc} for name, fact in sorted(every.items())},
                "additionalProperties": scalar,
            },
            "Scalar": {"type": ["number", "string", "boolean", "null"]},
            "Percent": {"type": "string", "pattern": r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)%$",
                        "description": "A percent: 7% is 0.07."},
        },
    }  # fmt: skip


class _Reader:
    """The cases of one document. Each that has a problem is left out."""

    def __init__(self, document: Document, rulebook: Rulebook, schema: Schema) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._rulebook = rulebook
        self._schema = schema
        self._data: Mapping[str, Any] = document.data
        self._names: dict[str, int] = {}

    def cases(self) -> Iterator[Case]:
        cases = self._schema["properties"]["cases"]
        each = isinstance(self._data.get("cases"), list)
        around = {**cases, "items": {}} if each else cases  # each case is checked by itself, below
        schema = {**self._schema, "properties": {**self._schema["properties"], "cases": around}}
        found = check_structure(self._document, schema)
        self.problems += found
        for index in range(len(self._data["cases"]) if each else 0):
            path: Path = ("cases", index)
            flaws = check_structure(self._document, cases["items"], path)
            self.problems += flaws
            data = self._data["cases"][index]
            if flaws and isinstance(data, dict):
                data = self._well_formed(path, data, cases["items"]["properties"])
            if found or not isinstance(data, dict) or (flaws and not _enough(self._data["cases"][index], data)):
                continue
            before = len(self.problems)
            case = self._case(path, data, whole=not flaws)
            if case is not None and not flaws and len(self.problems) == before:
                yield case

    def _well_formed(self, path: Path, data: Mapping[str, Any], known: Schema) -> dict[str, Any]:
        """The keys of a case that are what they should be, to look for further problems in."""
        return {
            key: value
            for key, value in data.items()
            if key in known and not check_structure(self._document, {"properties": {key: known[key]}}, path)
        }

    def _case(self, path: Path, data: Mapping[str, Any], *, whole: bool) -> Case | None:
        """The case as far as it can be told; its problems are on record. whole: none of its keys is left out."""
        title = data.get("name", "")
        line = self._document.span((*path, "name")).line
        if title in self._names:
            message = f"line {self._names[title]} has a case of the same name; say what is different"
            self._tell((*path, "name"), "case-repeated-name", message)
        if title:
            self._names.setdefault(title, line)
        name = data.get("stage", self._data.get("stage"))
        if name is None:
            self._tell(path, "case-stage", "the case has no stage; write stage: for it, or once above cases:")
            return None
        stage = self._rulebook.stages[name]
        strategy = self._strategy(path, data, stage)
        bars, direction = self._facts(path, data, stage)
        value = data.get("about", data.get("value"))
        tolerance = 1e-9 * max(1.0, abs(value or 0.0))
        if "about" in data:
            tolerance += _half_a_digit(self._document.raw((*path, "about")))
        if stage.name == "regime" or strategy is not None:
            self._expectation(path, data, stage, judging(self._rulebook, stage.name, strategy))
        if whole and not data.keys() & {"expect", "rule", "value", "about", "quantity"}:
            message = f"the case expects nothing; write expect: {' or '.join((*stage.outcomes, stage.default))}"
            self._tell((*path, "name"), "case-expects-nothing", message)
        if strategy is not None:
            bars = [{"strategy": strategy, **bar} if "strategy" in stage.facts else bar for bar in bars]
        return Case(
            title, self._document.file, line, name, strategy, direction, tuple(bars), data.get("expect"),
            data.get("rule"), value, tolerance, data.get("quantity"),
        )  # fmt: skip

    def _strategy(self, path: Path, data: Mapping[str, Any], stage: Stage) -> str | None:
        """Whose values hold."""
        at: Path = (*path, "strategy") if "strategy" in data else ("strategy",)
        name = data.get("strategy", self._data.get("strategy"))
        if stage.name == "regime":
            if name is not None:
                self._tell(at, "case-strategy", "the regime is nobody's strategy; delete this key")
            return None
        known = self._rulebook.params.strategies
        if name is None:
            message = f"the case has no strategy; write strategy: for it, or once above cases:; {_names(known)}"
            self._tell(path, "case-strategy", message)
        elif name not in known:
            self._tell(at, "case-strategy", f'there is no strategy "{name}"; {_meant(name, known)}')
        elif not judging(self._rulebook, stage.name, name):
            group = self._rulebook.group_of(name)
            where = f'enters in group "{group}", which has no rules' if group else "is in no entry group"
            self._tell(at, "case-strategy", f'"{name}" {where}: nothing is decided at {stage.name}')
        else:
            return str(name)
        return None

    def _facts(
        self, path: Path, data: Mapping[str, Any], stage: Stage
    ) -> tuple[list[dict[str, Scalar]], Direction | None]:
        """The facts of each bar, and the side."""
        given: dict[str, Scalar] = {**self._data.get("given", {}), **data.get("given", {})}
        own = data.get("given", {})
        for name, value in given.items():
            self._fact((*path, "given") if name in own else ("given",), name, value, stage)
        direction = given.get("direction")
        if stage.name != "regime" and direction not in DIRECTIONS:
            if direction is None:  # any other word has been told of as a fact
                message = "the case has no side; give direction: long or short, since values may differ by it"
                self._tell(path, "case-direction", message)
            direction = None
        bars = data.get("bars", 1)
        if "bars" in data and stage.name != "exit":
            message = f"only exit is judged bar by bar, {stage.name} once"
            self._tell((*path, "bars"), "case-unused-key", message, key=True)
        if isinstance(bars, int):
            return [given] * bars, cast(Direction | None, direction)
        for index, changes in enumerate(bars):
            at: Path = (*path, "bars", index)
            for name, value in changes.items():
                if name == "direction":
                    message = "the side does not change from bar to bar; say it under given"
                    self._tell((*at, name), "case-direction", message, key=True)
                else:
                    self._fact(at, name, value, stage)
        return [{**given, **changes} for changes in bars], cast(Direction | None, direction)

    def _fact(self, at: Path, name: str, value: Scalar, stage: Stage) -> None:
        """Whether a fact may be given this value."""
        fact = stage.facts.get(name)
        if name == "strategy" and fact is not None:
            message = "the strategy stands beside given:, not in it, since its values hold for the case"
            self._tell((*at, name), "case-unknown-fact", message, key=True)
        elif fact is None:
            self._tell((*at, name), "case-unknown-fact", self._unknown_fact(name, stage), key=True)
        elif value is not None:
            wrong = _wrong_value(fact, value)
            if wrong is not None:
                self._tell((*at, name), *wrong)

    def _unknown_fact(self, name: str, stage: Stage) -> str:
        sets = rule_sets(self._rulebook)
        values = {value for key, rules in sets.items() if key != "regime" for value in rules.constants}
        values |= set(self._rulebook.values(next(iter(self._rulebook.params.strategies)), "long"))
        if name in values:
            return f'"{name}" is a value of the configuration, which the case is to test; it is not given'
        elsewhere = known_at(name, self._rulebook.stages)
        if elsewhere:
            return f'"{name}" is known at {elsewhere}, not at {stage.name}'
        near = suggest(name, stage.facts)
        if near:
            return f'{stage.name} knows no fact "{name}"; did you mean "{near}"?'
        return f'{stage.name} knows no fact "{name}"; autotrader facts {stage.name} lists those it knows'

    def _expectation(self, path: Path, data: Mapping[str, Any], stage: Stage, keys: Sequence[str]) -> None:
        """Whether what is expected can be."""
        sets = [rule_sets(self._rulebook)[key] for key in keys]
        outcomes = [*stage.outcomes, stage.default]
        rules: list[str] = []
        for item in sets:
            if isinstance(item, RuleSet):
                rules += [rule.name for rule in item.rules]
                outcomes += [rule.then for rule in item.rules]
            elif item.stage.policy == "least" and item is not self._rulebook.scale:
                rules += [part.name for part in item.parts]
        outcomes.append(FAIL)
        outcome, rule = data.get("expect"), data.get("rule")
        if outcome is not None and outcome not in outcomes:
            message = f'{stage.name} has no outcome "{outcome}"; {_meant(outcome, outcomes)}'
            self._tell((*path, "expect"), "case-unknown-outcome", message)
        if rule is not None and rule not in {*rules, NO_RULE}:
            message = f'there is no rule "{rule}" at {stage.name}; {_meant(rule, [*rules, NO_RULE])}'
            if stage.name == "confirmation":
                (group,) = keys
                others = [key for key, one in rule_sets(self._rulebook).items() if key.startswith("group ")
                          and isinstance(one, RuleSet) and rule in {item.name for item in one.rules}]  # fmt: skip
                hint = f"{others[0]} has one, where its strategy does not enter" if others else _meant(rule, rules)
                message = f'there is no rule "{rule}" in the entry {group}, which its strategy enters in; {hint}'
            self._tell((*path, "rule"), "case-unknown-rule", message)
        unused = []
        if stage.policy in ("first", "veto"):
            unused += [(key, "gives an outcome, not a number") for key in ("value", "about")]
        if stage.name != "sizing":
            unused.append(("quantity", "gives no quantity; sizing does"))
        for key, why in unused:
            if key in data:
                self._tell((*path, key), "case-unused-key", f"{stage.name} {why}", key=True)
        if "value" in data and "about" in data:
            self._tell((*path, "about"), "case-unused-key", "value: is there already; write one of the two", key=True)

    def _tell(self, path: Path, code: str, message: str, *, key: bool = False) -> None:
        self.problems.append(self._document.problem(path, code, message, key=key))


def _enough(written: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    """Whether what is left of a case still says what it is about."""
    return all(key in kept for key in ("stage", "strategy", "given") if key in written)


def _wrong_value(fact: Fact, value: Scalar) -> tuple[str, str] | None:
    """Code and message for a value that a fact cannot have."""
    kind: Literal["flag", "text", "number"]
    kind = "flag" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    if kind != fact.kind:
        words = {"flag": "true or false", "text": "a text", "number": "a number"}
        unit = f" of {fact.unit}" if fact.unit and fact.unit != "ratio" else ""
        return "case-wrong-kind", f'"{fact.name}" is {words[fact.kind]}{unit}, found {words[kind]}; null is unknown'
    if isinstance(value, str) and fact.values and value not in fact.values:
        return "case-unknown-word", f'"{fact.name}" is never "{value}"; {_meant(value, fact.values)}'
    if not isinstance(value, str | bool | None) and fact.range and not fact.range[0] <= value <= fact.range[1]:
        low, high = fact.range
        percent = "; ratios are fractions: 3% is 0.03" if fact.unit == "ratio" else ""
        return "case-out-of-range", f'"{fact.name}" is from {low:g} to {high:g}{percent}'
    return None


def _meant(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = suggest(name, known)
    return f'did you mean "{near}"?' if near else _names(known)


def _names(known: Sequence[str] | Mapping[str, object]) -> str:
    unique = list(dict.fromkeys(known))
    return allowed(unique) or f"{', '.join(unique[:12])} and {len(unique) - 12} more are known"


def _half_a_digit(written: str) -> float:
    """Half a unit of the last digit of a number as written: 0.05 for 33.3, 0.0005 for 33.3%."""
    exponent = Decimal(written.removesuffix("%")).as_tuple().exponent
    assert isinstance(exponent, int)
    return 0.5 * 10.0 ** (exponent - 2 * written.endswith("%"))
