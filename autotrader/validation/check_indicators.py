"""Checks of the declared indicators, and of the history they need."""

from __future__ import annotations

from autotrader.rules.expression import ExpressionError, parse
from autotrader.rules.facts import Kind
from autotrader.settings import indicator_specs
from autotrader.validation.context import Context, Written, indicator_blocks
from autotrader.vocabulary import INDICATOR_KINDS, SERIES_FIELDS, Indicator

# What ranking and sizing need of every scan, whether a rule asks or not.
REQUIRED_INDICATORS = ("atr", "dollar_volume_rank")

_SHORTEST = {"rsi": 2, "adx": 2, "bollinger_width": 2, "bollinger_pct_b": 2}  # over one bar they say nothing


def indicators(context: Context) -> None:
    """`of` reads fields and indicators declared before it; a length is long enough to say something."""
    for path, declared in indicator_blocks(context.params):
        known: dict[str, Kind] = dict.fromkeys(SERIES_FIELDS, "number")
        if len(path) > 1:
            known |= dict.fromkeys(context.params.indicators, "number")
        for name, settings in declared.items():
            least = _SHORTEST.get(settings.kind, 1)
            if settings.length is not None and settings.length < least:
                message = f"{settings.kind} over {settings.length} bar is always the same; at least {least}"
                context.report((*path, name, "length"), "out-of-range", message)
            if settings.of is not None:
                _read(context, (*path, name, "of"), name, settings.of, known, set(declared))
            known[name] = "number"


def _read(
    context: Context, path: tuple[str | int, ...], name: str, text: str, known: dict[str, Kind], declared: set[str]
) -> None:
    stage, label = context.stages["signal"], f'indicator "{name}"'
    if context.is_mended(path):
        return
    try:
        expression = parse(text, known, "number")
    except ExpressionError as error:
        later = [flaw for flaw in error.flaws if flaw.name in declared]
        for flaw in later:
            what = "itself" if flaw.name == name else f"{flaw.name}, which is declared below it"
            message = f"{label} reads {what}; an indicator reads those above it"
            context.report(path, "indicator-order", message, flaw=flaw)
        others = tuple(flaw for flaw in error.flaws if flaw not in later)
        context.written.append(Written(path, label, stage, text, None, others))
    else:
        context.written.append(Written(path, label, stage, text, expression))


def missing_indicators(context: Context) -> None:
    """What the plugins and every scan read is declared; one finding for each name, whoever needs it."""
    needed: dict[str, list[str]] = {name: ["ranking and sizing"] for name in REQUIRED_INDICATORS}
    for strategy, names in context.reads.items():
        for name in names:
            if name not in context.series(strategy):
                needed.setdefault(name, []).append(f'strategy "{strategy}"')
    for name, needers in needed.items():
        if name in context.params.indicators or name in context.settled or context.was_lost(name):
            continue
        who = ", ".join(needers)
        message = f'the indicator "{name}" is not declared; {who} read{"" if len(needers) > 1 else "s"} it'
        context.report(("indicators",), "missing-indicator", message.replace("sizing reads", "sizing read"), key=True)


def history(context: Context) -> None:
    """Enough bars for every indicator: to have a value at all, and to have forgotten where the series began."""
    batch = context.params.batch
    if batch.min_bars > batch.history_days:
        message = f"min_bars is {batch.min_bars}, more than the {batch.history_days} sessions of history_days"
        context.report(("batch", "min_bars"), "short-history", message)
        return
    specs = {spec.name: spec for spec in indicator_specs(context.params)}
    for block in context.params.strategies.values():
        specs |= {spec.name: spec for spec in indicator_specs(block)}
    warmups: dict[str, int] = {}
    memories: dict[str, int] = {}
    for name, spec in specs.items():
        kind = INDICATOR_KINDS[spec.kind]
        before = [read for read in _names(spec) if read in warmups]
        warmups[name] = kind.warmup(spec) + max((warmups[read] for read in before), default=0)
        memories[name] = max(kind.memory(spec), *(memories[read] for read in before), 0) + warmups[name]
    never = [name for name, warmup in warmups.items() if warmup >= batch.history_days]
    if never:
        need = max(warmups[name] for name in never) + 1
        message = f"on {batch.history_days} sessions {_are(never)} never known; {need} are needed"
        context.report(("batch", "history_days"), "short-history", message)
        return
    late = [name for name, warmup in warmups.items() if warmup >= batch.min_bars]
    if late:
        need = max(warmups[name] for name in late) + 1
        message = (
            f"on {batch.min_bars} bars {_are(late)} still unknown: a symbol with fewer than {need} bars is scanned but "
            f"gives no signal that needs {'it' if len(late) == 1 else 'them'}; {need} would leave it out"
        )
        context.report(("batch", "min_bars"), "short-warmup", message, severity="warning")
    hasty = [name for name, memory in memories.items() if memory > batch.history_days]
    if hasty:
        need = max(memories[name] for name in hasty)
        message = (
            f"on {batch.history_days} sessions {', '.join(hasty)} still depend{'s' if len(hasty) == 1 else ''} on "
            f"where the history begins, so that signals come and go; {need} sessions make scan and backtest agree"
        )
        context.report(("batch", "history_days"), "short-memory", message, severity="warning")


def _are(names: list[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _names(spec: Indicator) -> tuple[str, ...]:
    import re

    return tuple(re.findall(r"[A-Za-z_]\w*", spec.of))
