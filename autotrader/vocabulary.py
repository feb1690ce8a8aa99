"""The words the configuration may use: indicator kinds, and the facts of each stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from autotrader.rules.facts import Fact, Stage

# --- indicators -------------------------------------------------------------------------------------------------

SERIES_FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Indicator:
    """One declared indicator: the fact `name` is `kind` of a series, with its parameters.

    of: an expression over series fields and indicators declared earlier; kinds that read whole bars ignore it.
    symbol: "market" computes it on the regime proxy instead of on each symbol; None: on each symbol.
    """

    name: str
    kind: str
    of: str = "close"
    length: int = 1
    width: float = 2.0
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class IndicatorKind:
    """What a `kind:` means.

    parameters: the keys a declaration of this kind may set (without `kind` and `symbol`), with their defaults;
                None: it must be given.
    reads:      "bars" (high, low, close) or "of" (one series).
    range:      the values it can take, both ends included; None: any.
    warmup:     how many bars before the first value, the bar itself not counted, from the declaration; what `of`
                needs is added by the caller.
    memory:     how many bars until a value no longer depends on where the series began, to within 1e-3 of its scale.
    """

    name: str
    doc: str
    parameters: Mapping[str, float | str | None]
    reads: str
    unit: str | None
    warmup: Callable[[Indicator], int]
    memory: Callable[[Indicator], int]
    range: tuple[float, float] | None = None


def _window(spec: Indicator) -> int:
    return spec.length - 1


def _lag(spec: Indicator) -> int:
    return spec.length


def _kind(
    name: str,
    doc: str,
    parameters: Mapping[str, float | str | None],
    warmup: Callable[[Indicator], int],
    *,
    reads: str = "of",
    unit: str | None = None,
    memory: Callable[[Indicator], int] | None = None,
    range: tuple[float, float] | None = None,
) -> IndicatorKind:
    return IndicatorKind(name, doc, parameters, reads, unit, warmup, memory or warmup, range)


_OF_LENGTH: Mapping[str, float | str | None] = {"of": "close", "length": None}
_OF_STEP: Mapping[str, float | str | None] = {"of": "close", "length": 1}
_BAND: Mapping[str, float | str | None] = {"of": "close", "length": 20, "width": 2.0}

INDICATOR_KINDS: Mapping[str, IndicatorKind] = {
    kind.name: kind
    for kind in (
        _kind(
            "rsi",
            "Wilder's relative strength index, 0 to 100.",
            {"length": 14},
            _lag,
            reads="bars",
            unit="score",
            memory=lambda s: s.length * 8,
            range=(0, 100),
        ),
        _kind(
            "adx",
            "Wilder's average directional index, 0 to 100.",
            {"length": 14},
            lambda s: 2 * s.length - 1,
            reads="bars",
            unit="score",
            memory=lambda s: s.length * 14,
            range=(0, 100),
        ),
        _kind(
            "atr",
            "Wilder's average true range, in USD.",
            {"length": 14},
            _lag,
            reads="bars",
            unit="usd",
            memory=lambda s: s.length * 8,
        ),
        _kind("bollinger_width", "Upper less lower band over the middle.", _BAND, _window, unit="ratio"),
        _kind(
            "bollinger_pct_b",
            "Where the value stands between the bands: 0 lower, 1 upper.",
            _BAND,
            _window,
            unit="ratio",
        ),
        _kind("sma", "Simple moving average.", _OF_LENGTH, _window),
        _kind(
            "ema",
            "Exponential moving average, started with the simple mean.",
            _OF_LENGTH,
            _window,
            memory=lambda s: s.length * 4,
        ),
        _kind("prev", "The value `length` bars earlier.", _OF_STEP, _lag),
        _kind("change", "The value less the value `length` bars earlier.", _OF_STEP, _lag),
        _kind("return", "The value over the value `length` bars earlier, minus 1.", _OF_STEP, _lag, unit="ratio"),
        _kind("highest", "Highest of the last `length` values.", _OF_LENGTH, _window),
        _kind("lowest", "Lowest of the last `length` values.", _OF_LENGTH, _window),
        _kind("mean", "Mean of the last `length` values.", _OF_LENGTH, _window),
        _kind(
            "ratio_to_mean", "The value over the mean of the last `length` values.", _OF_LENGTH, _window, unit="ratio"
        ),
        _kind(
            "universe_rank",
            "Rank among the day's usable symbols, 0 lowest to 1 highest; ties share the average.",
            {"of": "close"},
            lambda _: 0,
            unit="ratio",
            range=(0, 1),
        ),
    )
}

# --- facts --------------------------------------------------------------------------------------------------------

DIRECTIONS = ("long", "short")
GROUPS = {"moo": "MOO", "confirmation": "CONFIRM"}  # entry group key -> its name in files and facts


def group_name(key: str) -> str:
    """The name of an entry group in result files and facts: its key in capitals, but for the two classic ones."""
    return GROUPS.get(key, key.upper())


def _number(name: str, unit: str | None, doc: str, low: float, high: float, *, nullable: bool = False) -> Fact:
    return Fact(name, "number", doc, unit, (low, high), nullable)


def _flag(name: str, doc: str, *, nullable: bool = False) -> Fact:
    return Fact(name, "flag", doc, nullable=nullable)


def _text(name: str, doc: str, *values: str, nullable: bool = False) -> Fact:
    return Fact(name, "text", doc, values=values, nullable=nullable)


_MOST = 1e15  # no amount here is larger

_SERIES = (
    _number("open", "usd", "First price of the session.", 0, _MOST),
    _number("high", "usd", "Highest price of the session.", 0, _MOST),
    _number("low", "usd", "Lowest price of the session.", 0, _MOST),
    _number("close", "usd", "Last price of the session.", 0, _MOST),
    _number("volume", "shares", "Shares traded in the session.", 0, _MOST),
)

_SUBJECT = (
    _text("strategy", "The strategy whose signal this is."),
    _text("direction", "The side of the trade.", *DIRECTIONS),
    _text("sector", "GICS sector of the symbol; unknown for a symbol the universe does not list.", nullable=True),
    _text("regime", "The market regime of the scan."),
)

_RANKING = (
    _number("strength", "ratio", "How far beyond its thresholds the signal is, 0 to 1.", 0, 1),
    _number("prev_close", "usd", "Close of the scanned session.", 0, _MOST),
    _number("regime_weight", "ratio", "The strategy's share of equity in this regime.", 0, 1),
    _number("regime_weight_max", "ratio", "The largest share an enabled strategy has in this regime.", 0, 1),
    _number("signals_of_symbol", "count", "Signals of this symbol in this scan, this one included.", 1, 1000),
    _flag("opposite_signal", "Another strategy signals the other side of the same symbol."),
    _flag("blackout", "config/blackouts.csv names the symbol for the next session.", nullable=True),
)

_GAP = (
    _number("score", "ratio", "The composite score of the ranking, 0 to 1.", 0, 1),
    _number("rank", "count", "Place in the ranking, 1 the best.", 1, 10_000),
    _text("entry_group", "The group the strategy enters in."),
    _number("result_age", "sessions", "Sessions from the scan to the session it is used in; 1: last night's.", 1, 100),
    _number("pre_market_price", "usd", "Latest price before the open.", 0, _MOST, nullable=True),
    _number("gap_pct", "ratio", "Pre-market price over the previous close, minus one.", -1, 10, nullable=True),
    _number("price_age_seconds", "seconds", "Age of the pre-market price.", 0, 1e7, nullable=True),
    _number("spread_pct", "ratio", "Ask less bid over their middle.", 0, 10, nullable=True),
    _flag("corporate_action", "A split or the like takes effect between the scan and the session.", nullable=True),
)

_PRICE = (
    _number(
        "price",
        "usd",
        "The price the stage decides on: latest trade or quote, or the bar's close.",
        0,
        _MOST,
        nullable=True,
    ),
)

_CONFIRMATION = (
    _number(
        "move_pct",
        "ratio",
        "Price over previous close, minus one; positive where it goes the trade's way.",
        -1,
        10,
        nullable=True,
    ),
    _number("minute_of_session", "minutes", "Minutes since the open.", 0, 390),
)

_LIMITS = (
    _number("equity", "usd", "Cash plus the value of all positions.", -_MOST, _MOST),
    _number("day_return", "ratio", "Equity over equity at the previous close, minus 1; open profit included.", -1, 10),
    _number("worst_drawdown", "ratio", "Largest fall from a peak, as seen at closes and at entry times, since a reset.",
            0, 1),
    _number("buying_power", "usd", "What may still be spent.", 0, _MOST),
    _number("open_positions", "count", "Positions open or pending.", 0, 10_000),
    _number("open_long", "count", "Long positions open or pending.", 0, 10_000),
    _number("open_short", "count", "Short positions open or pending.", 0, 10_000),
    _number("open_in_strategy", "count", "Positions of this strategy, open or pending.", 0, 10_000),
    _number("open_in_sector", "count", "Positions in this sector, open or pending.", 0, 10_000),
    _number("exposure_gross", "usd", "Value of all positions, pending included, shorts counted positive.", 0, _MOST),
    _number("exposure_long", "usd", "Value of the long positions, pending included.", 0, _MOST),
    _number("exposure_short", "usd", "Value of the short positions, pending included, as a positive number.", 0, _MOST),
    _number("exposure_sector", "usd", "Value of the positions in this sector, pending included.", 0, _MOST),
    _number("exposure_strategy", "usd", "The same as strategy_exposure.", 0, _MOST),
    _number("strategy_exposure", "usd", "Value of this strategy's positions, pending included.", 0, _MOST),
    _number("entries_today", "count", "Entries of this session, filled or live.", 0, 10_000),
    _number(
        "better_ranked_waiting", "count", "Better-ranked candidates of later groups that are still alive.", 0, 10_000
    ),
    _flag("symbol_held", "The symbol is held or pending, on either side."),
    _flag("exited_today", "A position in the symbol was left in this session."),
    _number(
        "sessions_since_exit",
        "sessions",
        "Sessions since the symbol was last left; unknown if never.",
        0,
        100_000,
        nullable=True,
    ),
    _number(
        "losing_exits_in_row", "count", "The symbol's latest exits that lost money, counted back to a gain.", 0, 10_000
    ),
    _flag("shortable", "The broker lends the symbol.", nullable=True),
)

# Of the facts above, those of the account, whoever is asked about.
ACCOUNT_FACTS = frozenset((
    "equity", "day_return", "worst_drawdown", "buying_power", "open_positions", "open_long", "open_short",
    "exposure_gross", "exposure_long", "exposure_short", "entries_today",
))  # fmt: skip

_ENTRY_DISTANCE = (
    _number("entry_price", "usd", "Average price of the entry; at sizing, the planned price.", 0, _MOST),
    _number("atr_at_entry", "usd", "ATR of the scan that the entry came from.", 0, _MOST),
    _number("stop_distance", "usd", "exit.stop_distance for this position, in USD per share.", 0, _MOST),
)

_QUANTITY = (_number("quantity", "shares", "Whole shares after sizing.", 0, _MOST),)

_EXIT = (
    _text("strategy", "The strategy that opened the position."),
    _text("direction", "The side of the position.", *DIRECTIONS),
    _text("sector", "GICS sector of the symbol.", nullable=True),
    _text("regime", "The market regime of the last scan.", nullable=True),
    _text("regime_at_entry", "The market regime of the scan that the entry came from."),
    _number("price", "usd", "Close of the minute bar.", 0, _MOST),
    _number("high", "usd", "High of the minute bar.", 0, _MOST),
    _number("low", "usd", "Low of the minute bar.", 0, _MOST),
    *_ENTRY_DISTANCE,
    _number("gain_pct", "ratio", "Gain over the entry price; negative for a loss.", -10, 100),
    _number("loss_pct", "ratio", "Loss over the entry price; negative for a gain.", -100, 10),
    _number("gain_atr", "atr", "Gain per share in ATRs at entry.", -1000, 1000),
    _number("best_gain_atr", "atr", "Best gain per share since the entry, in ATRs.", 0, 1000),
    _number("retrace_atr", "atr", "How far the price came back from its best since the entry, in ATRs.", 0, 1000),
    _number("loss_per_share", "usd", "Loss per share; negative for a gain.", -_MOST, _MOST),
    _number(
        "move_pct",
        "ratio",
        "Price over the last completed day's close, minus one, signed by direction.",
        -1,
        10,
        nullable=True,
    ),
    _number("days_held", "sessions", "Sessions since the entry; 0 on the entry session.", 0, 100_000),
    _number("calendar_days_held", "days", "Days since the entry.", 0, 1_000_000),
    _number("bars_held", "count", "Minute bars received since the entry.", 0, 1e9),
    _number("minute_of_session", "minutes", "Minutes since the open.", 0, 390),
    _number("minutes_to_close", "minutes", "Minutes to the close; the calendar knows half days.", 0, 390),
)

# Values that a strategy may leave out: a rule that needs one is unknown for that strategy, which is not a mistake.
OPTIONAL_VALUES = frozenset({"tp_atr_mult", "tp_rsi", "tp_pct_b", "trailing_atr_mult"})


def indicator_facts(indicators: Sequence[Indicator]) -> tuple[Fact, ...]:
    """One fact each; unknown while the series is too short."""
    facts = []
    for spec in indicators:
        kind = INDICATOR_KINDS.get(spec.kind)
        doc = f"{kind.doc} ({spec.kind})" if kind else spec.kind
        unit, ends = (kind.unit, kind.range) if kind else (None, None)
        facts.append(Fact(spec.name, "number", doc, unit, ends, True))
    return tuple(facts)


def _table(*groups: Sequence[Fact]) -> dict[str, Fact]:
    return {fact.name: fact for group in groups for fact in group}


def stages(
    indicators: Sequence[Indicator] = (), regimes: Sequence[str] = (), groups: Sequence[str] = ()
) -> dict[str, Stage]:
    """Every stage with the facts known there, in the order of the day.

    indicators: the declared ones. regimes, groups: the names a regime and an entry group can have.
    """
    daily = indicator_facts(indicators)
    ranking = [*_SUBJECT, *_RANKING, *daily]
    gap = [*ranking, *_GAP]
    confirmation = [*gap, *_PRICE, *_CONFIRMATION]
    limits = [*confirmation, *_LIMITS]
    sizing = [*limits, *_ENTRY_DISTANCE]
    exits = [*_EXIT, *daily]
    distance = [*_SUBJECT[:2], *_ENTRY_DISTANCE[:2]]
    named = {"regime": tuple(regimes), "regime_at_entry": tuple(regimes), "entry_group": tuple(map(group_name, groups))}

    def table(*groups: Sequence[Fact]) -> dict[str, Fact]:
        facts = _table(*groups)
        return facts | {name: replace(facts[name], values=words) for name, words in named.items() if name in facts}

    every = (
        Stage("regime", "first", table(_SERIES, daily), "UNCERTAIN", open_outcomes=True,
              doc="Names the market regime from the proxy's last completed bar; the first rule that matches."),
        Stage("signal", "first", table(_SERIES, daily), "none", doc="What a strategy reads: the last daily bar."),
        Stage("eligible", "veto", table(ranking), "eligible", ("reject",), optional=OPTIONAL_VALUES,
              doc="Keeps signals out of the ranking; any rule that matches rejects."),
        Stage("score", "weigh", table(ranking), "dropped", ("scored",), optional=OPTIONAL_VALUES,
              doc="Scores the eligible signals: the sum of weight times value."),
        Stage("gap_filter", "veto", table(gap), "pass", ("reject",), optional=OPTIONAL_VALUES,
              doc="Before the open; any rule that matches rejects."),
        Stage("confirmation", "first", table(confirmation), "discard", ("enter", "discard"), optional=OPTIONAL_VALUES,
              doc="At an entry group's time; the first rule that matches decides."),
        Stage("limits", "veto", table(limits), "allow", ("reject",), optional=OPTIONAL_VALUES,
              doc="Before an entry is sized; any rule that matches rejects."),
        Stage("reentry", "veto", table(limits), "allow", ("reject",), optional=OPTIONAL_VALUES,
              doc="Whether a symbol that was left may be entered again; any rule that matches rejects."),
        Stage("stop_distance", "least", table(distance), "unknown", ("distance",), optional=OPTIONAL_VALUES,
              doc="How far the stop is from the entry price, in USD per share; one value."),
        Stage("protective_stop", "least", table(distance, _ENTRY_DISTANCE), "unknown", ("distance",),
              optional=OPTIONAL_VALUES,
              doc="How far the stop that rests at the broker is from the entry price, in USD per share; one value."),
        Stage("sizing", "least", table(sizing), "no_entry", ("sized",), optional=OPTIONAL_VALUES,
              doc="How many shares: the smallest value, times the scale, down to whole shares."),
        Stage("order", "veto", table(sizing, _QUANTITY), "allow", ("reject",), optional=OPTIONAL_VALUES,
              doc="The sized order; any rule that matches rejects."),
        Stage("exit", "first", table(exits), "hold", ("exit", "hold"), frozenset({"hold"}), optional=OPTIONAL_VALUES,
              doc="Every minute bar of a held symbol; the first rule that matches decides."),
    )  # fmt: skip
    return {stage.name: stage for stage in every}


def known_at(name: str, every: Mapping[str, Stage]) -> str | None:
    """The first stage that knows this fact."""
    return next((stage.name for stage in every.values() if name in stage.facts), None)
