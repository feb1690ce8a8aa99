"""Why a symbol was traded, or was not: what every stage recorded about it, with how far each rule was from deciding.

Read from the journal and the result files alone: as it was decided then, under the configuration of then.
"""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from autotrader.batch.files import (
    BatchResultRecord,
    FilteredResultRecord,
    ResultFileError,
    filtered_path,
    read_batch_result,
    read_filtered,
    result_path,
)
from autotrader.clock import NEW_YORK, Calendar
from autotrader.core import events as ev
from autotrader.core.rulebook import Rulebook, RulebookError, build_rulebook
from autotrader.errors import AutotraderError
from autotrader.journal.codec import stamp
from autotrader.journal.store import DecisionRecord, Journal, JournalError
from autotrader.market.universe import Member
from autotrader.rules.expression import ExpressionError, parse
from autotrader.rules.facts import Kind, Scalar
from autotrader.rules.margins import Margin, margins
from autotrader.rules.ruleset import RuleSet, ValueSet
from autotrader.vocabulary import stages

_OLDEST = 5  # sessions that a result in use can be old
_LEGS: Mapping[ev.Leg, str] = {"entry": "entry", "exit": "exit", "stop": "protective stop"}


class ExplainError(AutotraderError):
    """There is nothing to explain; one sentence that says why, and what to ask instead."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule or value as it was judged. nearest: how near it came over the whole session, where that was kept."""

    name: str
    text: str
    verdict: str | None
    result: float | None
    streak: int | None
    facts: Mapping[str, Scalar]
    because: str | None
    weight: float | None = None
    margins: tuple[Margin, ...] = ()
    nearest: tuple[Margin, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Every field; what is not there is left out."""
        shown: dict[str, Any] = {"rule": self.name}
        shown |= {"when": self.text, "verdict": self.verdict} if self.verdict else {"value": self.text}
        if self.verdict is None:
            shown["result"] = self.result
        for key, value in (("streak", self.streak), ("weight", self.weight), ("because", self.because)):
            if value is not None:
                shown[key] = value
        shown["facts"] = dict(self.facts)
        for key, found in (("margins", self.margins), ("nearest", self.nearest)):
            if found:
                shown[key] = [_margin(item) for item in found]
        return shown


@dataclass(frozen=True, slots=True)
class Judgement:
    """One stage's decision. at: None for the scan's, whose file has one time for all."""

    at: datetime | None
    stage: str
    strategy: str | None
    outcome: str
    rule: str | None
    reason: str
    value: float | None
    price: float | None
    matched: tuple[str, ...]
    config_hash: str
    rules: tuple[Rule, ...]
    bars: int | None = None

    @property
    def closest(self) -> str | None:
        """Of an exit judgement that held: the exit rule that came nearest, relative to its threshold."""
        distances = {rule.name: _distance(rule.nearest or rule.margins) for rule in self.rules
                     if rule.verdict == "no_match"}  # fmt: skip
        known = {name: away for name, away in distances.items() if away is not None}
        return min(known, key=lambda name: known[name]) if known else None

    def as_json(self) -> dict[str, Any]:
        return {
            "at": None if self.at is None else stamp(self.at),
            "stage": self.stage,
            "strategy": self.strategy,
            "outcome": self.outcome,
            "rule": self.rule,
            "reason": self.reason,
            "value": self.value,
            "price": self.price,
            "matched": list(self.matched),
            "closest": self.closest,
            "bars": self.bars,
            "config_hash": self.config_hash,
            "rules": [rule.as_json() for rule in self.rules],
        }


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal of the scan. rank: of a candidate."""

    strategy: str
    direction: str
    strength: float
    score: float | None
    outcome: str
    rank: int | None
    entry_group: str | None
    judgements: tuple[Judgement, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "strategy": self.strategy,
            "direction": self.direction,
            "strength": self.strength,
            "score": self.score,
            "outcome": self.outcome,
            "rank": self.rank,
            "entry_group": self.entry_group,
            "decisions": [item.as_json() for item in self.judgements],
        }


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened to an order or a position."""

    at: datetime
    what: str
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chapter:
    """A scan and the session traded on it. notes: what else a reader must know, in sentences."""

    scan_date: date
    trading_date: date
    regime: str | None = None
    scanned: Mapping[str, Any] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    gap: Mapping[str, Any] | None = None
    judgements: tuple[Judgement, ...] = ()
    happened: tuple[Happening, ...] = ()
    held_since: date | None = None
    notes: tuple[str, ...] = ()

    @property
    def recorded(self) -> bool:
        """Whether anything was recorded about the symbol."""
        return bool(self.signals or self.gap or self.judgements or self.happened)

    def as_json(self) -> dict[str, Any]:
        return {
            "scan_date": self.scan_date.isoformat(),
            "trading_date": self.trading_date.isoformat(),
            "regime": self.regime,
            "scan": dict(self.scanned),
            "signals": [item.as_json() for item in self.signals],
            "gap_filter": None if self.gap is None else dict(self.gap),
            "decisions": [item.as_json() for item in self.judgements],
            "events": [{"at": stamp(item.at), "what": item.what, **item.event} for item in self.happened],
            "held_since": None if self.held_since is None else self.held_since.isoformat(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that was recorded about a symbol around a session. why_not: where that is nothing, why."""

    symbol: str
    name: str | None
    sector: str | None
    chapters: tuple[Chapter, ...]
    why_not: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "name": self.name,
            "sector": self.sector,
            "why_not": self.why_not,
            "chapters": [chapter.as_json() for chapter in self.chapters],
        }


def explain(
    folder: Path, symbol: str, universe: Sequence[Member], journal: Journal | None, day: date | None = None
) -> Explanation:
    """What was recorded about a symbol.

    folder: of the result files. universe: to know symbols by. day: a scanned or a trading session; None: the latest
    one something was recorded about the symbol. ExplainError: an unknown symbol, a day that is no session, no record
    of that day at all.
    """
    return _Reader(folder, symbol, universe, journal).explain(day)


class _Reader:
    def __init__(self, folder: Path, symbol: str, universe: Sequence[Member], journal: Journal | None) -> None:
        self._folder = folder
        self._symbol = symbol
        self._universe = universe
        self._member = next((member for member in universe if member.symbol == symbol), None)
        self._journal = journal
        self._calendar = Calendar()
        self._history = _History(journal, symbol, self._calendar)
        self._library = _Library(journal)

    def explain(self, day: date | None) -> Explanation:
        if day is not None and not self._calendar.is_session(day):
            before, after = self._calendar.previous_session(day), self._calendar.next_session(day)
            raise ExplainError(f"{day} is not a session of the exchange; the ones around it are {before} and {after}")
        pairs = self._pairs(day)
        found = [chapter for scan, trading in pairs if (chapter := self._chapter(scan, trading)).recorded]
        name, sector = (self._member.name, self._member.sector) if self._member else (None, None)
        if found:
            return Explanation(self._symbol, name, sector, tuple(found))
        return Explanation(self._symbol, name, sector, (), self._why_not(day))

    # --- which sessions -----------------------------------------------------------------------------------------

    def _pairs(self, day: date | None) -> list[tuple[date, date]]:
        """Scan and trading session of each chapter, in order of time."""
        if day is not None:
            return [(self._scan_for(day), day), (day, self._calendar.next_session(day))]
        latest = self._history.latest
        for scan in reversed(self._scans()):
            trading = self._calendar.next_session(scan)
            if latest is not None and trading <= latest:
                break
            if self._symbol in _symbols_of(result_path(self._folder, scan)):
                tonight = [(scan, trading)]
                return tonight if latest != scan else [(self._scan_for(scan), scan), *tonight]
        return [] if latest is None else [(self._scan_for(latest), latest)]

    def _scan_for(self, trading: date) -> date:
        """The scan that a session was traded on: the night before's, or an older one that had to serve."""
        before = self._calendar.previous_session(trading)
        for age in range(1, _OLDEST + 1):
            scan = self._calendar.previous_session(trading, age)
            path = filtered_path(self._folder, scan)
            if path.exists() and f'"filter_date": "{trading}"' in path.read_text(errors="replace"):
                return scan
        return before

    def _scans(self) -> list[date]:
        found = []
        for path in self._folder.glob("*.json"):
            try:
                found.append(date.fromisoformat(path.stem))
            except ValueError:
                continue  # a filtered result
        return sorted(found)

    # --- a chapter ----------------------------------------------------------------------------------------------

    def _chapter(self, scan: date, trading: date) -> Chapter:
        notes: list[str] = []
        result = self._read_scan(scan, notes)
        filtered = self._read_filtered(scan, trading, notes)
        records = list(self._journal.decisions(self._symbol, trading)) if self._journal else []
        signals = tuple(self._signals(result)) if result else ()
        if result and signals and self._symbol in result.short_history:
            notes.append(f"scanned on {result.short_history[self._symbol]} bars, fewer than the full history")
        return Chapter(
            scan,
            trading,
            regime=result.regime if result else None,
            scanned=_summary(result) if result else {},
            signals=signals,
            gap=self._gap(filtered) if filtered else None,
            judgements=tuple(self._recorded(record) for record in records),
            happened=tuple(self._history.of(trading)),
            held_since=self._history.held_since(trading),
            notes=(*notes, *(result.notes if result and signals else ())),
        )

    def _read_scan(self, scan: date, notes: list[str]) -> BatchResultRecord | None:
        path = result_path(self._folder, scan)
        if not path.exists():
            return None
        try:
            return read_batch_result(path)
        except ResultFileError as error:
            notes.append(f"the scan cannot be shown: {error}")
            return None

    def _read_filtered(self, scan: date, trading: date, notes: list[str]) -> FilteredResultRecord | None:
        path = filtered_path(self._folder, scan)
        if not path.exists():
            return None
        try:
            record = read_filtered(path)
        except ResultFileError as error:
            notes.append(f"the gap filter's result cannot be shown: {error}")
            return None
        return record if record.filter_date == trading else None

    def _signals(self, result: BatchResultRecord) -> Iterator[Signal]:
        chosen = {(item.strategy, item.direction): item for item in result.candidates if item.symbol == self._symbol}
        listed = {(item.strategy, item.direction): item for item in result.all_signals if item.symbol == self._symbol}
        for trace in result.trace:
            if trace.symbol != self._symbol:
                continue
            signal, candidate = listed[trace.strategy, trace.direction], chosen.get((trace.strategy, trace.direction))
            judgements = tuple(
                self._judgement(None, trace.strategy, result.config_hash, item) for item in trace.decisions
            )
            yield Signal(
                trace.strategy, trace.direction, signal.strength, signal.score, trace.outcome,
                candidate.rank if candidate else None, candidate.entry_group if candidate else None, judgements,
            )  # fmt: skip

    def _gap(self, filtered: FilteredResultRecord) -> dict[str, Any] | None:
        for item in filtered.filtered:
            if item.symbol == self._symbol:
                return {"status": item.status, "pre_market_price": item.pre_market_price, "gap_pct": item.gap_pct}
        for out in filtered.rejected:
            if out.symbol == self._symbol:
                return {"status": "rejected", "reason": out.reason, "gap_pct": out.gap_pct}
        return None

    def _recorded(self, record: DecisionRecord) -> Judgement:
        body = {"stage": record.stage, "outcome": record.outcome, "rule": record.rule, "reason": record.reason,
                **record.body}  # fmt: skip
        return self._judgement(record.at, record.strategy, record.config_hash, body)

    def _judgement(
        self, at: datetime | None, strategy: str | None, config_hash: str, body: Mapping[str, Any]
    ) -> Judgement:
        stage = body["stage"]
        extremes = [body[side] for side in ("lowest", "highest") if side in body]
        rules = tuple(self._library.rule(stage, config_hash, item, extremes) for item in body["evidence"])
        matched = body.get("matched") or ([body["rule"]] if body["rule"] else [])
        return Judgement(at, stage, strategy, body["outcome"], body["rule"], body["reason"], body.get("value"),
                         body.get("price"), tuple(matched), config_hash, rules, body.get("bars"))  # fmt: skip

    # --- nothing was recorded -----------------------------------------------------------------------------------

    def _why_not(self, day: date | None) -> str:
        scans = self._scans()
        if day is None:
            if self._member is None:
                raise ExplainError(self._unknown_symbol())
            if not scans:
                raise ExplainError(f"nothing has been scanned yet ({self._folder}); run `autotrader scan` first")
            day = scans[-1]
        for scan in dict.fromkeys((day, self._scan_for(day))):
            path = result_path(self._folder, scan)
            if path.exists():
                return self._why_no_signal(read_batch_result(path))
        if self._member is None:
            raise ExplainError(self._unknown_symbol())
        there = f"; there are scans from {scans[0]} to {scans[-1]}" if scans else ""
        raise ExplainError(
            f"there is no scan of {day} or of the session before, and nothing was recorded about {self._symbol} then"
            f"{there}"
        )

    def _why_no_signal(self, result: BatchResultRecord) -> str:
        reason = next((item.reason for item in result.skipped if item.symbol == self._symbol), None)
        if reason is not None:
            return f"the scan of {result.scan_date} skipped {self._symbol}: {reason}"
        if self._member is None:
            raise ExplainError(self._unknown_symbol())
        strategies = ", ".join(result.scan_summary.signals_by_strategy)
        return (
            f"no strategy fired on {self._symbol} in the scan of {result.scan_date} (asked: {strategies}; "
            f"{result.total_signals_generated} signals on {result.total_symbols_scanned} symbols, regime "
            f"{result.regime}). Scans keep the indicators of signals only: how near it was is not on record"
        )

    def _unknown_symbol(self) -> str:
        known = [member.symbol for member in self._universe]
        near = difflib.get_close_matches(self._symbol, known, 3, 0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        return f"{self._symbol} is not among the {len(known)} symbols of the universe, and nothing is on record{hint}"


class _History:
    """What happened to a symbol, by session, from one pass over the journal."""

    def __init__(self, journal: Journal | None, symbol: str, calendar: Calendar) -> None:
        self._calendar = calendar
        self._by_session: dict[date, list[Happening]] = {}
        self._held: list[tuple[date, date | None]] = []
        sessions = {record.session for record in journal.decisions(symbol)} if journal else set()
        if journal is not None:
            self._read(journal, symbol)
        self.latest = max(sessions | self._by_session.keys(), default=None)

    def of(self, session: date) -> Sequence[Happening]:
        return self._by_session.get(session, ())

    def held_since(self, session: date) -> date | None:
        """The entry session of a position held at the beginning of a session."""
        for begun, ended in self._held:
            if begun < session and (ended is None or session <= ended):
                return begun
        return None

    def _read(self, journal: Journal, symbol: str) -> None:
        mine: dict[str, ev.Ordered] = {}
        quantity, begun = 0, None
        for event in journal.events():
            match event:
                case ev.Ordered() if event.symbol == symbol:
                    mine[event.order_id] = event
                    why = f": {event.reason}" if event.reason and event.leg == "exit" else ""
                    rests = "" if event.stop_price is None else f" at {event.stop_price:,.2f}"
                    self._add(event, f"{_LEGS[event.leg]} of {event.quantity} {event.direction} ordered{rests}{why}",
                              quantity=event.quantity, leg=event.leg, reason=event.reason, rule=event.rule,
                              stop_price=event.stop_price)  # fmt: skip
                case ev.Filled() if event.order_id in mine:
                    ordered = mine[event.order_id]
                    if not quantity:
                        begun = event.session
                    quantity += event.quantity if ordered.leg == "entry" else -event.quantity
                    if not quantity and begun is not None:
                        self._held.append((begun, event.session))
                    self._add(event, f"{_LEGS[ordered.leg]} filled: {event.quantity} at {event.price:.2f}",
                              quantity=event.quantity, price=event.price, leg=ordered.leg)  # fmt: skip
                case ev.OrderEnded() if event.order_id in mine and event.status != "filled":
                    said = f" ({event.reason})" if event.reason else ""
                    self._add(event, f"{_LEGS[mine[event.order_id].leg]} order {event.status}{said}",
                              status=event.status, reason=event.reason)  # fmt: skip
                case ev.Corrected() if event.symbol == symbol:
                    quantity -= event.quantity
                    if not quantity and begun is not None:
                        self._held.append((begun, event.session))
                    self._add(event, f"corrected by hand: {event.quantity} shares are gone, at {event.price:.2f}",
                              quantity=event.quantity, price=event.price)  # fmt: skip
                case ev.Split() if event.symbol == symbol:
                    quantity = quantity * event.new // event.old
                    self._add(event, f"split: {event.new} for {event.old}", new=event.new, old=event.old)
        if quantity and begun is not None:
            self._held.append((begun, None))

    def _add(
        self, event: ev.Ordered | ev.Filled | ev.OrderEnded | ev.Corrected | ev.Split, what: str, **more: Any
    ) -> None:
        known = {"kind": type(event).__name__, **more}
        if not isinstance(event, ev.Corrected | ev.Split):
            known["order_id"] = event.order_id
        # a resting stop ends sessions after the one it is of
        day = event.at.astimezone(NEW_YORK).date()
        session = day if self._calendar.is_session(day) else event.session
        self._by_session.setdefault(session, []).append(Happening(event.at, what, known))


class _Library:
    """The rules as they were written under each configuration that the journal keeps."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self._books: dict[str, Rulebook | None] = {}
        self._known = {name: stage.facts for name, stage in stages().items()}

    def rule(
        self, stage: str, config_hash: str, evidence: Mapping[str, Any], extremes: Sequence[Mapping[str, Scalar]]
    ) -> Rule:
        name, facts = evidence["rule"], evidence["facts"]
        because, weight = self._said(stage, config_hash, name)
        if "verdict" not in evidence:
            return Rule(name, evidence["value"], None, evidence["result"], None, facts, because, weight)
        text = evidence["when"]
        found = self._margins(stage, text, facts)
        others = [self._margins(stage, text, {**facts, **{key: row[key] for key in facts if key in row}})
                  for row in extremes]  # fmt: skip
        nearest = min((item for item in (found, *others) if _distance(item) is not None),
                      key=lambda item: _distance(item) or 0.0, default=())  # fmt: skip
        return Rule(name, text, evidence["verdict"], None, evidence.get("streak"), facts, because, None, found,
                    nearest if others else ())  # fmt: skip

    def _margins(self, stage: str, text: str, facts: Mapping[str, Scalar]) -> tuple[Margin, ...]:
        known = self._known.get(stage, {})
        names = {name: known[name].kind if name in known else _kind(value) for name, value in facts.items()}
        try:
            return margins(parse(text, names, "flag"), facts, {})
        except ExpressionError:
            return ()  # written for another version of the language

    def _said(self, stage: str, config_hash: str, name: str) -> tuple[str | None, float | None]:
        """A rule's `because` and a value's weight."""
        book = self._book(config_hash)
        if book is None:
            return None, None
        for sets in (getattr(book, stage, None), *book.confirmation.values()):
            if isinstance(sets, RuleSet) and sets.stage.name == stage:
                for rule in sets.rules:
                    if rule.name == name:
                        return rule.because, None
            elif isinstance(sets, ValueSet):
                for part in sets.parts:
                    if part.name == name:
                        return part.because, part.weight if stage == "score" else None
        return None, None

    def _book(self, config_hash: str) -> Rulebook | None:
        if config_hash not in self._books:
            self._books[config_hash] = None
            if self._journal is not None:
                # it may never have been stored, or be of another version: what was recorded stands by itself
                with contextlib.suppress(JournalError, RulebookError):
                    self._books[config_hash] = build_rulebook(self._journal.config(config_hash).params)
        return self._books[config_hash]


def _summary(result: BatchResultRecord) -> dict[str, Any]:
    return {
        "timestamp": result.timestamp,
        "regime_proxy": result.regime_proxy,
        "symbols_scanned": result.total_symbols_scanned,
        "signals": result.total_signals_generated,
        "candidates": len(result.candidates),
        "config_hash": result.config_hash,
    }


def _symbols_of(path: Path) -> frozenset[str]:
    """The symbols with a signal; none where the file cannot be read (which is said when it is asked for)."""
    try:
        return frozenset(item.symbol for item in read_batch_result(path).all_signals)
    except ResultFileError:
        return frozenset()


def _kind(value: Scalar) -> Kind:
    if isinstance(value, bool):
        return "flag"
    return "text" if isinstance(value, str) else "number"


def _distance(found: Sequence[Margin]) -> float | None:
    """How far the comparisons that do not hold are from holding, relative to what they compare with; None: unknown."""
    missing = [item for item in found if item.holds is False]
    if not missing or any(item.away is None for item in missing):
        return None
    return max((item.away or 0.0) / _scale(item) for item in missing)


def _scale(item: Margin) -> float:
    sizes = [abs(side) for side in (item.left, item.right) if isinstance(side, float) and math.isfinite(side) and side]
    return max(sizes, default=1.0)


def _margin(item: Margin) -> dict[str, Any]:
    return {"text": item.text, "left": item.left, "operator": item.operator, "right": item.right, "holds": item.holds,
            "away": item.away, "says": str(item)}  # fmt: skip
