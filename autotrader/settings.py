"""The typed configuration: each key of config/strategy_params.yaml and config/default.yaml, its meaning and its unit.

Expressions stay text here, and plugins' own parameters (`signal:`) stay raw: who evaluates them checks them.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from autotrader.rules.expression_fields import Condition, Value
from autotrader.vocabulary import INDICATOR_KINDS, Indicator

# --- building blocks ----------------------------------------------------------------------------------------------

_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")
_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"


def _as_time(value: object) -> datetime.time:
    if isinstance(value, datetime.time):
        return value
    if isinstance(value, str) and _TIME.match(value):
        return datetime.time.fromisoformat(value)
    raise ValueError('expected a time like "09:30", in quotes')


T = TypeVar("T")
Items = Annotated[tuple[T, ...], Strict(False)]  # YAML's lists become tuples
Ratio = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Name = Annotated[
    str,
    StringConstraints(pattern=_NAME_PATTERN, max_length=64),
    Field(json_schema_extra={"errorMessage": "a name of letters, digits and _, not beginning with a digit"}),
]
Time = Annotated[
    datetime.time,
    BeforeValidator(_as_time),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
            "errorMessage": 'a time like "09:30", in quotes',
        }
    ),
]
OnMissing = Literal["skip", "match", "fail"]
Direction = Literal["long", "short"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class BySide(_Model):
    """A value for each direction; an absent side is unknown."""

    long: float | None = Field(default=None, description="The value for long positions.")
    short: float | None = Field(default=None, description="The value for short positions.")


Params = dict[Name, float]
_PARAMS = "Named numbers that this set's rules may use, each a number or a percent."


# --- rules --------------------------------------------------------------------------------------------------------


class Rule(_Model):
    """A condition and what follows from it."""

    name: Name = Field(description="What the rule is called in decisions and statistics.")
    when: Condition = Field(description="The condition, over the facts of this stage and named values.")
    then: str | None = Field(default=None, description="The outcome when the condition holds.")
    on_missing: OnMissing | None = Field(
        default=None,
        description="What an unknown condition counts as: skip (no match), match, or fail (stop this symbol here and "
        "alert). Without it the stage's policy decides.",
    )
    reason: str | None = Field(default=None, description="Reported instead of the name, e.g. as a trade's exit_reason.")
    because: str | None = Field(default=None, description="Why the rule is there, in a sentence; shown by explain.")


class RegimeRule(Rule):
    """The first that matches names the regime."""

    then: str | None = Field(default=None, description="The regime; without it the rule's name is the regime.")


class RejectRule(Rule):
    """Any match rejects; all matches are reported."""

    then: Literal["reject"] = Field(description="reject: the candidate goes no further.")


class ConfirmationRule(Rule):
    """The first that matches decides about the entry."""

    then: Literal["enter", "discard"] = Field(description="enter, or discard for the day.")


class ExitRule(Rule):
    """The first that matches decides about the position, on every minute bar."""

    then: Literal["exit", "hold"] = Field(description="exit, or hold whatever the rules below say.")
    for_bars: AtLeastOne = Field(
        default=1,
        description="Minute bars in a row, received, newer than the fill and of one session, on which the condition "
        "must hold.",
    )


class RejectRules(_Model):
    """Rules of which any match rejects."""

    params: Params = Field(default={}, description=_PARAMS)
    rules: Items[RejectRule] = Field(default=(), description="Any match rejects.")


class ValuePart(_Model):
    """One of several values of which the least counts."""

    name: Name = Field(description="What the value is called in decisions and statistics.")
    value: Value = Field(description="An expression that gives a number.")
    on_missing: OnMissing | None = Field(default=None, description="skip: an unknown value is left out.")
    because: str | None = Field(default=None, description="Why it is there, in a sentence; shown by explain.")


class ScorePart(ValuePart):
    """A part of the score: its weight times its value."""

    weight: Ratio = Field(description="Share of the score; all weights add up to 1.")


# --- batch and indicators -----------------------------------------------------------------------------------------


class Batch(_Model):
    """The nightly scan and the gap filter: when, over what, how much."""

    scan_time: Time = Field(description="When a session day's scan begins, New York time.")
    gap_filter_time: Time = Field(description="When the next session's gap filter runs, New York time.")
    scan_universe: Literal["sp500"] = Field(
        description="The list of symbols to scan: the packaged one, unless `universe` in default.yaml names a file."
    )
    history_days: AtLeastOne = Field(description="Daily bars read for each symbol, in sessions.")
    min_bars: AtLeastOne = Field(description="Symbols with fewer daily bars are not scanned, in sessions.")
    min_coverage: Ratio = Field(description="Share of the universe that must have usable bars, else the scan fails.")
    top_candidates: AtLeastOne = Field(description="How many candidates the ranking keeps.")
    max_stale_sessions: Count = Field(
        description="How many sessions older a result may be when the scan failed; 0: never use an older one."
    )
    retry_seconds: Items[Count] = Field(description="Waits before each retry of a failed scan, in seconds.")
    gap_filter_retry_seconds: Items[Count] = Field(
        description="Waits before each retry of a failed gap filter, in seconds."
    )
    keep_days: AtLeastOne = Field(description="How long result files are kept, in days.")


def _per_kind(schema: dict[str, Any]) -> None:
    """Which keys go with which kind, for editors and for exact positions: kinds of equal keys share a branch."""
    optional = {"of", "length", "width"}
    groups: dict[tuple[tuple[str, bool], ...], list[str]] = {}
    for kind in INDICATOR_KINDS.values():
        keys = tuple(sorted((key, default is None) for key, default in kind.parameters.items()))
        groups.setdefault(keys, []).append(kind.name)
    branches = []
    for keys, kinds in groups.items():
        then: dict[str, Any] = {
            "properties": {
                key: {"not": {}, "errorMessage": f"{key} has no meaning for {', '.join(kinds)}; remove it"}
                for key in sorted(optional - {key for key, _ in keys})
            }
        }
        required = [key for key, is_required in keys if is_required]
        if required:
            then["required"] = required
        branches.append({"if": {"properties": {"kind": {"enum": kinds}}, "required": ["kind"]}, "then": then})
    schema["allOf"] = branches


class IndicatorSettings(_Model):
    """One declared indicator: a fact named by its key, computed for each symbol from daily bars."""

    model_config = ConfigDict(json_schema_extra=_per_kind)

    kind: str = Field(
        description="\n".join(
            ["What is computed:", *(f"{kind.name}: {kind.doc}" for kind in INDICATOR_KINDS.values())]
        ),
        json_schema_extra={"enum": [*sorted(INDICATOR_KINDS)]},
    )
    of: Value | None = Field(
        default=None,
        description="The series it is computed from: close unless said; an expression over series and indicators.",
    )
    length: AtLeastOne | None = Field(
        default=None, description="Window or lag, in daily bars, the current one included."
    )
    width: Positive | None = Field(
        default=None, description="Bollinger bands: half their width, in standard deviations."
    )
    symbol: Literal["market"] | None = Field(
        default=None, description="market: computed on the regime's symbol instead of on each one."
    )

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        kind = INDICATOR_KINDS.get(self.kind)
        if kind is None:
            raise ValueError(f"unknown kind {self.kind!r}; one of {', '.join(sorted(INDICATOR_KINDS))}")
        given = {key for key in ("of", "length", "width") if getattr(self, key) is not None}
        for key in sorted(given - kind.parameters.keys()):
            raise ValueError(f"{key} has no meaning for {kind.name}; remove it")
        for key, default in kind.parameters.items():
            if default is None and key not in given:
                raise ValueError(f"{kind.name} needs {key}")
        return self


# --- regime -------------------------------------------------------------------------------------------------------


class RegimeWeights(_Model):
    """Rows by regime: the share of equity each strategy may use there."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[Name, Ratio]] = Field(init=False)

    default: Ratio = Field(description="The share of a strategy that a regime's row does not name.")

    @property
    def rows(self) -> Mapping[str, Mapping[str, float]]:
        """regime -> strategy -> share of equity, as written."""
        return self.__pydantic_extra__

    def share(self, regime: str, strategy: str) -> float:
        """The share of equity that `strategy` may use in `regime`, from 0 to 1."""
        return self.rows.get(regime, {}).get(strategy, self.default)


class Regime(_Model):
    """The state of the market, named by the first rule that matches, and what each strategy may use in it."""

    symbol: str = Field(description="The symbol that stands for the market; without its bars, the universe's mean.")
    params: Params = Field(default={}, description=_PARAMS)
    rules: Items[RegimeRule] = Field(description="In order; the first match names the regime.")
    weights: RegimeWeights = Field(description="Share of equity by regime and strategy; what is left over is cash.")


# --- strategies ---------------------------------------------------------------------------------------------------


class NamedValues(_Model):
    """Values that rules use by name; besides the known ones any other name may be given one.

    Each is a number, a percent, {long: ..., short: ...}, or null for "none".
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | BySide | None] = Field(init=False)

    sl_atr_mult: Positive | BySide | None = Field(default=None, description="Stop distance, in ATRs at entry.")
    tp_atr_mult: Positive | BySide | None = Field(
        default=None, description="Take profit, in ATRs at entry; null: none."
    )
    max_hold_days: Count | BySide | None = Field(
        default=None, description="Exit once held this many sessions, the entry session being 0."
    )
    max_stop_pct: Share | BySide | None = Field(
        default=None, description="Cap of the stop distance, as a share of the entry price."
    )
    trailing_atr_mult: Positive | BySide | None = Field(
        default=None,
        description="Exit when price came back this far from its best since entry, in ATRs; null: no trailing.",
    )
    trail_from_atr: float | BySide | None = Field(
        default=None, description="Best gain from which the stop trails, in ATRs."
    )
    tp_rsi: float | BySide | None = Field(default=None, description="RSI beyond which profit is taken, 0 to 100.")
    tp_pct_b: float | BySide | None = Field(
        default=None, description="Place between the Bollinger bands beyond which profit is taken: 0 lower, 1 upper."
    )
    max_gap_pct: Share | BySide | None = Field(
        default=None, description="Largest pre-market gap either way, as a share of the previous close."
    )
    emergency_stop_pct: Share | BySide | None = Field(
        default=None,
        description="Loss that ends a position after the emergency stop's bars, as a share of the entry price.",
    )
    emergency_immediate_pct: Share | BySide | None = Field(
        default=None, description="Loss that ends a position at once, as a share of the entry price."
    )

    @property
    def values(self) -> Mapping[str, float | BySide | None]:
        """Every value that is written here, null included, by name."""
        known = {name: getattr(self, name) for name in NamedValues.model_fields if name in self.model_fields_set}
        return {**known, **self.__pydantic_extra__}

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Absent is not null: an absent value has a default in strategy_defaults, null has none."""
        dumped: dict[str, Any] = dump(self)
        absent = NamedValues.model_fields.keys() - self.model_fields_set
        return {name: value for name, value in dumped.items() if name not in absent}


class Strategy(NamedValues):
    """One strategy: what signals it gives, and the values that rules use for it."""

    plugin: str | None = Field(default=None, description="The plugin's name; without it the block's own key.")
    enabled: bool = Field(default=True, description="false: no signals; open positions keep their rules.")
    directions: Annotated[Items[Direction], Field(min_length=1)] | None = Field(
        default=None, description="The sides that may be entered; without it all the plugin gives."
    )
    signal: dict[str, Any] = Field(
        default={}, description="The plugin's own parameters: when it fires, and how strongly."
    )
    indicators: dict[Name, IndicatorSettings] = Field(
        default={}, description="Indicators of this strategy alone, declared as in the section indicators."
    )


# --- ranking, entry, exit, risk -----------------------------------------------------------------------------------


class Ranking(_Model):
    """Which signals become candidates, and in what order."""

    eligible: RejectRules = Field(description="Any match keeps a signal out of the ranking.")
    params: Params = Field(default={}, description=_PARAMS)
    score: Annotated[Items[ScorePart], Field(min_length=1)] = Field(
        description="The score is the sum of weight x value; an unknown value drops the candidate."
    )
    max_per: dict[Literal["sector"], AtLeastOne] = Field(
        default={}, description="At most this many candidates of one kind, the best ones."
    )


class Window(_Model):
    """The entry window, New York time."""

    opens: Time = Field(description="No order that opens a position before it, New York time.")
    closes: Time = Field(description="No order that opens a position is sent or stays open after it, New York time.")
    margin_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0, description="How long before the window closes the last order is sent: it takes time to arrive."
    )
    retry_seconds: Items[Count] = Field(
        default=(), description="Waits before each retry of an order whose refusal can pass; none: it is skipped."
    )


class Group(_Model):
    """Strategies that enter together."""

    at: Time = Field(description="When the group enters, New York time.")
    order: Literal["market", "opg"] = Field(
        description="market: an ordinary market order; opg: the opening auction, to be sent before 09:28."
    )
    strategies: Items[Name] = Field(description="The strategies of this group; each enabled one is in one group.")
    params: Params = Field(default={}, description=_PARAMS)
    rules: Items[ConfirmationRule] = Field(
        default=(),
        description="In order, the first match decides, none: discard. Without rules every candidate enters.",
    )


class Entry(_Model):
    """From candidates to orders: the gap filter, then each group at its time."""

    window: Window = Field(description="When positions may be opened.")
    gap_filter: RejectRules = Field(description="Judged before the open with pre-market prices; any match rejects.")
    groups: dict[Name, Group] = Field(min_length=1, description="Groups by name: moo, confirmation, ...")


class ProtectiveStop(_Model):
    """A stop order that rests at the broker for the case that nobody is watching."""

    enabled: bool = Field(description="false: no order rests at the broker.")
    distance: Value = Field(description="Distance from the entry price, in USD per share; beyond every rule's level.")


class Exit(_Model):
    """When positions are closed."""

    stop_distance: Value = Field(
        description="Distance of the stop from the entry price, in USD per share; also for sizing and protective stop."
    )
    protective_stop: ProtectiveStop
    params: Params = Field(default={}, description=_PARAMS)
    rules: Items[ExitRule] = Field(description="In order, on every minute bar; the first match decides, none: hold.")
    reentry: RejectRules = Field(
        default_factory=RejectRules, description="Any match keeps a symbol from being entered again."
    )


class Sizing(_Model):
    """The quantity: the least of the values, times the scale, down to whole shares."""

    values: Annotated[Items[ValuePart], Field(min_length=1)] = Field(
        description="Each in shares; the least decides, a negative one counts as 0, an unknown one means no entry."
    )
    scale: Value = Field(default="1", description="A factor on the least value.")
    rules: Items[RejectRule] = Field(default=(), description="Judged with the quantity; any match means no entry.")


class Risk(_Model):
    """How much may be open, and how large a position is."""

    params: Params = Field(default={}, description=_PARAMS)
    limits: Items[RejectRule] = Field(description="Judged before every entry; any match rejects, all are reported.")
    sizing: Sizing = Field(description="How many shares to enter.")


class StrategyParams(_Model):
    """Everything the strategy team decides."""

    version: Literal[1] = Field(description="The version of this file's format.")
    batch: Batch
    indicators: dict[Name, IndicatorSettings] = Field(
        description="Indicators by name, each computed from price fields and the ones above it."
    )
    regime: Regime
    strategy_defaults: NamedValues = Field(
        default_factory=NamedValues, description="The values of a strategy that does not give its own."
    )
    strategies: dict[Name, Strategy] = Field(min_length=1, description="Strategies by name.")
    ranking: Ranking
    entry: Entry
    exit: Exit
    risk: Risk

    def values(self, strategy: str) -> Mapping[str, float | BySide | None]:
        """The values of a strategy: its own, else those of strategy_defaults. KeyError for an unknown strategy."""
        return {**self.strategy_defaults.values, **self.strategies[strategy].values}


# --- the system ---------------------------------------------------------------------------------------------------


class Feed(_Model):
    """Where market data come from."""

    name: str = Field(default="synthetic", description="The feed plugin's name: synthetic, files, alpaca, ...")
    path: str | None = Field(default=None, description="A parquet file or a folder of them, for the feed files.")
    seed: int = Field(default=0, description="The seed of the synthetic market.")


class Broker(_Model):
    """Where orders go."""

    name: str = Field(default="paper", description="The broker plugin's name: paper, alpaca, ...")


class Alpaca(_Model):
    """The broker Alpaca, for the plugins of that name. Its keys are secrets: in the environment or in config/.env."""

    live: bool = Field(
        default=False,
        description="true: real money. The account number below must then be the one that the broker gives.",
    )
    account: str | None = Field(
        default=None, description="The account's number, in quotes; another account is refused. live needs it."
    )
    data_feed: Literal["iex", "sip"] = Field(
        default="iex",
        description="Where quotes and minute bars come from: iex, one exchange, with every account; sip, all of them, "
        "with a subscription.",
    )
    history_feed: Literal["iex", "sip"] = Field(
        default="sip", description="Where daily bars come from; what is older than 15 minutes is free on sip too."
    )
    url: str | None = Field(
        default=None, description="Another server for all requests, like http://127.0.0.1:8700; null: Alpaca's own."
    )
    stream_url: str | None = Field(
        default=None, description="Another server for both streams; null: the one of url, else Alpaca's own."
    )
    connect_seconds: Positive = Field(default=3.0, description="How long a connection may take, in seconds.")
    read_seconds: Positive = Field(
        default=8.0, description="How long an answer may take, from when the request is sent to its last byte."
    )
    requests_per_minute: Annotated[int, Field(ge=30)] = Field(
        default=190, description="Requests of broker and feed together; Alpaca allows an account 200."
    )
    stream_symbols: AtLeastOne = Field(
        default=30, description="Symbols whose minute bars are streamed; the plan without a subscription allows 30."
    )
    silence_seconds: Positive = Field(
        default=150.0, description="A stream that gives no bar for so long in a session is opened again, in seconds."
    )
    poll_seconds: Positive = Field(
        default=5.0, description="How long an order may stay without a report before it is asked about, in seconds."
    )

    @model_validator(mode="after")
    def _live_names_its_account(self) -> Self:
        if self.live and not self.account:
            raise ValueError("live: true needs the account's number in account")
        return self


class Paths(_Model):
    """Where files go; relative ones start at the deployment folder."""

    data: str = Field(default="data", description="Folder of results, journal and logs.")


class Logging(_Model):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is logged."
    )
    keep_days: AtLeastOne = Field(default=30, description="How long log files are kept, in days.")
    as_json: bool = Field(default=False, alias="json", description="true: one JSON object a line, for machines.")


class Alerts(_Model):
    """Who is told when something needs a person. Addresses are secrets: they stand in the environment or in .env."""

    urls_env: Name = Field(
        default="AUTOTRADER_ALERT_URLS",
        description="The variable, of the environment or of config/.env, that holds the addresses: URLs as apprise "
        "reads them, separated by blanks.",
    )
    least: Literal["info", "warning", "critical"] = Field(
        default="info", description="The least severity that is sent; all are journaled and logged."
    )
    repeat_minutes: AtLeastOne = Field(
        default=60, description="How long the same trouble is not sent again, in minutes; it is counted meanwhile."
    )
    timeout_seconds: Positive = Field(default=10.0, description="How long one address may take, in seconds.")


class Watch(_Model):
    """How others see that the service is alive."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        default=None, description="Port of /health and /status on 127.0.0.1; null or 0: none."
    )
    stale_seconds: Positive = Field(
        default=60.0, description="Age of the last heartbeat from which the service counts as stuck, in seconds."
    )
    heartbeat_env: Name = Field(
        default="AUTOTRADER_HEARTBEAT_URL",
        description="The variable that holds the address of an outside monitor, which is asked for while all is well.",
    )
    heartbeat_seconds: Positive = Field(
        default=60.0, description="How often the outside monitor's address is asked for, in seconds."
    )


class Service(_Model):
    """How `autotrader run` watches the running session."""

    bar_grace_seconds: Positive = Field(
        default=5.0, description="How long after a minute's end its bars are waited for before they are asked for."
    )
    silence_seconds: Positive = Field(
        default=90.0, description="A stream without any bar for so long in a session is told as trouble, in seconds."
    )
    clock_seconds: Positive = Field(
        default=30.0,
        description="How far this machine's clock and the broker's may be apart; beyond it nothing but exits is done.",
    )


class SystemSettings(_Model):
    """What the operator decides: data, broker, files, logging. Nothing here changes a trading decision."""

    feed: Feed = Field(default_factory=Feed, description="Where market data come from.")
    broker: Broker = Field(default_factory=Broker, description="Where orders go.")
    alpaca: Alpaca = Field(default_factory=Alpaca, description="The broker Alpaca, where feed or broker name it.")
    paths: Paths = Field(default_factory=Paths, description="Where files go.")
    universe: str | None = Field(
        default=None,
        description="A CSV file with the columns symbol, name, sector; null: the list that batch.scan_universe names.",
    )
    logging: Logging = Field(default_factory=Logging, description="What is logged.")
    alerts: Alerts = Field(default_factory=Alerts, description="Who is told when something needs a person.")
    watch: Watch = Field(default_factory=Watch, description="How others see that the service is alive.")
    service: Service = Field(default_factory=Service, description="How the running session is watched.")


# A part is built as part of its document's model; on its own it would be built a second time.
StrategyParams.model_rebuild()
SystemSettings.model_rebuild()


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, checked in form. config_hash: see `config_hash`."""

    params: StrategyParams
    system: SystemSettings
    config_hash: str


# --- derived ------------------------------------------------------------------------------------------------------


def indicator_specs(declared: StrategyParams | Strategy) -> tuple[Indicator, ...]:
    """The declared indicators in order, with each kind's defaults filled in."""
    return tuple(_specification(name, settings) for name, settings in declared.indicators.items())


def _specification(name: str, settings: IndicatorSettings) -> Indicator:
    given = {key: getattr(settings, key) for key in ("of", "length", "width") if getattr(settings, key) is not None}
    parameters: dict[str, Any] = {**INDICATOR_KINDS[settings.kind].parameters, **given}
    return Indicator(name, settings.kind, symbol=settings.symbol, **parameters)


def config_hash(params: StrategyParams, versions: Mapping[str, str]) -> str:
    """sha256, in hex, of everything that changes a trading decision.

    versions: name -> version of whatever computes: plugins, libraries. Comments, formatting and the order of keys do
    not count, but for indicators, whose order has a meaning. Where data come from and logs go does not count either.
    """
    dumped = params.model_dump(mode="json")
    for holder in (dumped, *dumped["strategies"].values()):
        holder["indicators"] = list(holder["indicators"].items())
    text = json.dumps([_canonical(dumped), dict(versions)], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """5 and 5.0 are one number, also where a plugin's parameters are not typed yet."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def inside(home: Path, path: str | None) -> Path | None:
    """A path of the configuration; a relative one starts at the deployment folder."""
    return None if path is None else home / path
