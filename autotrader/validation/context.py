"""What the checks read, and where they report: the configuration with every expression in it, parsed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from autotrader.core.rulebook import Rulebook, Site, build_rulebook, value_names
from autotrader.core.strategy import Strategy as StrategyPlugin
from autotrader.rules.document import Document, Path
from autotrader.rules.expression import Expression, Flaw
from autotrader.rules.facts import Stage
from autotrader.rules.problems import Problem, Severity, suggest
from autotrader.settings import IndicatorSettings, StrategyParams

if TYPE_CHECKING:
    from autotrader.validation.salvage import Salvaged

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Written:
    """One expression where it stands. expression: None if it has flaws.

    label: what a message calls it. sure: an unknown in it matters, as nothing says what happens then.
    """

    path: Path
    label: str
    stage: Stage
    text: str
    expression: Expression | None
    flaws: tuple[Flaw, ...] = ()
    sure: bool = True


@dataclass
class Checked:
    """What the checks found out about a configuration.

    plugin_classes: the enabled strategies' plugins, as far as they load. versions: plugin -> version, for the hash.
    """

    rulebook: Rulebook
    problems: list[Problem] = field(default_factory=list)
    plugin_classes: dict[str, type[StrategyPlugin]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass
class Context:
    """One configuration under check.

    written: every expression. reads: strategy -> the series its plugin reads. settled: names that a finding has dealt
    with already, so that what follows from them is not said again.
    """

    params: StrategyParams
    document: Document
    salvaged: Salvaged[StrategyParams] | None
    checked: Checked
    written: list[Written]
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)

    @property
    def stages(self) -> Mapping[str, Stage]:
        return self.checked.rulebook.stages

    def origin(self, path: Path) -> Path:
        """The path in the document."""
        return path if self.salvaged is None else self.salvaged.origin(path)

    def line(self, path: Path) -> int:
        return self.document.span(self.origin(path)).line

    def report(
        self,
        path: Path,
        code: str,
        message: str,
        *,
        flaw: Flaw | None = None,
        key: bool = False,
        severity: Severity = "error",
    ) -> None:
        """A finding at a value, its key, or a flaw within its text; kept to itself where it is our own mending."""
        place = self.origin(path)
        if self._is_mended(place, sums=code == "weights-sum"):
            return
        offset = None if flaw is None else flaw.offset
        length = None if flaw is None else flaw.length
        problem = self.document.problem(place, code, message, offset=offset, length=length, key=key, severity=severity)
        self.checked.problems.append(problem)

    def is_told(self, path: Path) -> bool:
        """Whether a finding stands at this value already."""
        place = self.document.span(self.origin(path))
        return any((other.line, other.column) == (place.line, place.column) for other in self.checked.problems)

    def is_mended(self, path: Path) -> bool:
        """Whether what stands there is not the author's."""
        return self._is_mended(self.origin(path), sums=False)

    def _is_mended(self, place: Path, *, sums: bool) -> bool:
        if self.salvaged is None:
            return False
        return any(
            place[: len(mended)] == mended or (sums and mended[: len(place)] == place)
            for mended in self.salvaged.mended
        )

    def was_lost(self, name: str) -> bool:
        """Whether the name, or one it was meant to be, was left out because of another finding."""
        if self.salvaged is None or not self.salvaged.lost:
            return False
        return name in self.salvaged.lost or suggest(name, self.salvaged.lost) is not None

    def touched(self, *path: str) -> bool:
        """Whether anything at, above or below the path is not the author's; "*" is any key."""
        return self.salvaged is not None and any(
            all(want in ("*", step) for want, step in zip(path, mended, strict=False))
            for mended in self.salvaged.mended
        )

    def wanted(self) -> Counter[str]:
        """Names that are asked for and known nowhere, with how many ask."""
        found: Counter[str] = Counter()
        for written in self.written:
            found.update({flaw.name for flaw in written.flaws if flaw.code == "unknown-fact" and flaw.name})
        for strategy, names in self.reads.items():
            known = self.series(strategy)
            found.update({name for name in names if name not in known})
        return found

    def used(self) -> set[str]:
        """Names that something reads; of a flawed expression, its words and what they may have been meant for."""
        found: set[str] = set()
        for written in self.written:
            if written.expression is not None:
                found.update(written.expression.names)
            else:
                found.update(_WORD.findall(written.text[:1000]))
                found.update(near for flaw in written.flaws if flaw.name and (near := self.nearest(flaw.name, written)))
        for names in self.reads.values():
            found.update(names)
        if self.salvaged is not None:
            found.update(self.salvaged.read, words(self.document.data))
        return found

    def nearest(self, name: str, written: Written) -> str | None:
        """What a name was most likely meant to be, of all that its place knows."""
        return suggest(name, [*written.stage.facts, *value_names(self.params), *self.params_at(written)[1]])

    def params_at(self, written: Written) -> tuple[Path, Mapping[str, float]]:
        """The parameters of the set that the expression belongs to, and where they stand."""
        for path, given, stages in param_sets(self.params):
            if written.stage.name in stages and written.path[: len(path) - 1] == path[:-1]:
                return path, given
        return (), {}

    def series(self, strategy: str) -> set[str]:
        """The price fields and indicators that a strategy may read."""
        own = self.params.strategies[strategy].indicators
        return {*self.stages["signal"].facts, *own}


def gather(params: StrategyParams, document: Document, salvaged: Salvaged[StrategyParams] | None) -> Context:
    """The context with the expressions of all rule sets; checks add those of indicators and plugins."""
    flawed: dict[Path, tuple[Site, list[Flaw]]] = {}
    sound: list[tuple[Site, Expression]] = []
    rulebook = build_rulebook(
        params,
        report=lambda site, flaw: flawed.setdefault(site.path, (site, []))[1].append(flaw),
        visit=lambda site, expression: sound.append((site, expression)),
    )
    written = [_written(params, site, expression, ()) for site, expression in sound]
    written += [_written(params, site, None, flaws) for site, flaws in flawed.values()]
    context = Context(params, document, salvaged, Checked(rulebook), written)
    context.written = [one for one in written if not context.is_mended(one.path)]
    return context


def _written(params: StrategyParams, site: Site, expression: Expression | None, flaws: Sequence[Flaw]) -> Written:
    holder = _at(params, site.path[:-1])
    text = expression.text if expression is not None else str(_at(params, site.path))
    sure = getattr(holder, "on_missing", None) is None
    return Written(site.path, site.label, site.stage, text, expression, tuple(flaws), sure)


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = getattr(value, str(step)) if isinstance(value, BaseModel) else value[step]
    return value


def words(data: Any) -> Iterator[str]:
    """Every word of every text in plain data."""
    if isinstance(data, str):
        yield from _WORD.findall(data[:1000])
    elif isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            yield from words(item)


def param_sets(params: StrategyParams) -> Iterable[tuple[Path, Mapping[str, float], tuple[str, ...]]]:
    """Every set of parameters: its path, the numbers, and the stages whose rules see them."""
    yield ("regime", "params"), params.regime.params, ("regime",)
    yield ("ranking", "eligible", "params"), params.ranking.eligible.params, ("eligible",)
    yield ("ranking", "params"), params.ranking.params, ("score",)
    yield ("entry", "gap_filter", "params"), params.entry.gap_filter.params, ("gap_filter",)
    for key, group in params.entry.groups.items():
        yield ("entry", "groups", key, "params"), group.params, ("confirmation",)
    yield ("exit", "params"), params.exit.params, ("exit", "stop_distance", "protective_stop")
    yield ("exit", "reentry", "params"), params.exit.reentry.params, ("reentry",)
    yield ("risk", "params"), params.risk.params, ("limits", "sizing", "order")


def rule_sets(params: StrategyParams) -> Iterable[tuple[Path, Sequence[Any]]]:
    """Every list of rules or named values, with its path."""
    yield ("regime", "rules"), params.regime.rules
    yield ("ranking", "eligible", "rules"), params.ranking.eligible.rules
    yield ("ranking", "score"), params.ranking.score
    yield ("entry", "gap_filter", "rules"), params.entry.gap_filter.rules
    for key, group in params.entry.groups.items():
        yield ("entry", "groups", key, "rules"), group.rules
    yield ("exit", "rules"), params.exit.rules
    yield ("exit", "reentry", "rules"), params.exit.reentry.rules
    yield ("risk", "limits"), params.risk.limits
    yield ("risk", "sizing", "values"), params.risk.sizing.values
    yield ("risk", "sizing", "rules"), params.risk.sizing.rules


def indicator_blocks(params: StrategyParams) -> Iterable[tuple[Path, Mapping[str, IndicatorSettings]]]:
    """The declarations of indicators: the common ones, then each strategy's own."""
    yield ("indicators",), params.indicators
    for name, strategy in params.strategies.items():
        if strategy.indicators:
            yield ("strategies", name, "indicators"), strategy.indicators


def regimes(params: StrategyParams, default: str) -> tuple[str, ...]:
    """Every regime that a rule, or the lack of one that matches, can name."""
    return tuple(dict.fromkeys([*(rule.then or rule.name for rule in params.regime.rules), default]))
