"""The report: one HTML file that opens without a network. Its numbers are the JSON document's."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import yaml

from autotrader.backtest import charts, metrics
from autotrader.backtest.caveats import ASSUMPTIONS, JUMP
from autotrader.backtest.engine import BacktestResult
from autotrader.backtest.explanations import explanations
from autotrader.backtest.output import MEASURES, SATURATES, Document, Row, by_group, findings, shown
from autotrader.backtest.tables import Cell, bullets, sign, table
from autotrader.core.panel import Array

_FOLDER = Path(__file__).parent
_TILES = ("total_return", "cagr", "max_drawdown", "sharpe", "hit_rate", "profit_factor", "expectancy_r", "exposure")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REGIME_COLOURS = ("#4a90d9", "#d9a441", "#9b6bcc", "#4fae8b", "#cf6679", "#7f8c9a", "#b3bf4d", "#5bb8c4")
_WORST = 10
_R_RANGE = (-3.0, 4.0)  # R multiples beyond stand at the edge of a chart


def report(content: Document, result: BacktestResult) -> bytes:
    """The page. content: the result's JSON document; every text of it is escaped."""
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    parts = [
        _head(content), _summary(content), _curves(content, result), _months(result), _groups(content),
        _trades_at_a_glance(content), _rules(content), _data(content), _configuration(content, result),
        _all_trades(content),
    ]  # fmt: skip
    page = Template((_FOLDER / "report.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"Backtest {content['from']} to {content['to']}"),
        script_hash="sha256-" + b64encode(sha256(script.encode()).digest()).decode(),
        style=(_FOLDER / "report.css").read_text(encoding="utf-8"),
        body="\n".join(parts),
        data=_embedded(_page_data(content, result)),
        script=script,
    )
    return page.encode()


def _embedded(value: object) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


# --- the parts of the page ----------------------------------------------------------------------------------------


def _head(content: Document) -> str:
    links = ("Curve", "Months", "Results", "Trades at a glance", "Rules", "Data", "Configuration", "All trades")
    nav = "".join(f'<a href="#{_id(name)}">{name}</a>' for name in links)
    costs = content["costs"]
    return (
        f"<h1>Backtest {escape(content['from'])} to {escape(content['to'])}</h1>"
        f'<p class="soft">{content["sessions"]:,} sessions, {content["symbols"]:,} symbols from the feed '
        f"{escape(content['feed'])}; slippage {costs['slippage_bps']:g} bps, commission {costs['commission']:g} USD "
        f"per order, borrowing {costs['borrow']:.2%} a year; configuration "
        f"<code>{escape(content['config_hash'][:12])}</code></p><nav>{nav}</nav>"
    )


def _summary(content: Document) -> str:
    measured = content["metrics"]
    noted = [*findings(content), *content["notes"]]
    notice = f'<div class="notice">{bullets(noted)}</div>' if noted else ""
    units = {measure.key: measure for measure in MEASURES}
    final = f'<div class="tile"><b data-key="final_equity" data-value="{content["final_equity"]!r}">'
    final += f"{content['final_equity']:,.0f}</b><span>equity from {content['initial_cash']:,.0f}, USD</span></div>"
    tiles = "".join(
        f'<div class="tile"><b class="{sign(measured[key]) if key in _SIGNED else ""}" {_value(key, measured[key])}>'
        f"{escape(shown(measured[key], units[key].unit))}</b><span>{escape(units[key].label)}</span></div>"
        for key in _TILES
    )
    sections = []
    for group, measures in groupby(MEASURES, key=lambda measure: measure.group):
        rows = "".join(
            f'<dt title="{escape(m.definition)}">{escape(m.label)}</dt><dd {_value(m.key, measured[m.key])}>'
            f"{escape(shown(measured[m.key], m.unit))}</dd>"
            for m in measures
        )
        sections.append(f"<section><h3>{escape(group)}</h3><dl>{rows}</dl></section>")
    fall = ""
    if measured["max_drawdown_trough"]:
        peak, back = measured["max_drawdown_peak"], measured["max_drawdown_regained"]
        said = f"The deepest drawdown began after {peak or 'the start'}, had its low on "
        said += f"{measured['max_drawdown_trough']} and was {f'made good on {back}' if back else 'not made good'}."
        fall = f'<p class="soft">{escape(said)}</p>'
    defined = bullets(f"{measure.label}: {measure.definition}" for measure in MEASURES)
    return (
        f'<div class="tiles">{final}{tiles}</div>{notice}<div class="measures">{"".join(sections)}</div>{fall}'
        f"<details><summary>How these are defined</summary>{defined}</details>"
    )


_SIGNED = {"total_return", "cagr", "expectancy_r"}


def _curves(content: Document, result: BacktestResult) -> str:
    x = charts.across(len(result.sessions))
    days = charts.day_marks(result.sessions)
    scale = charts.scale_over(result.equity, result.benchmark, np.array([result.cash]))
    start = charts.line(np.array([0.0, charts.SIZE]), scale.place(np.array([result.cash] * 2)), "zero")
    dates = [session.isoformat() for session in result.sessions]
    latch = "".join(
        f'<path class="latch" d="M{x[dates.index(item["since"])]:.1f},0V1000"><title>'
        f"{escape(item['rule'])} since {escape(item['since'])}</title></path>"
        for item in content["latched"]
    )
    curve = charts.frame(
        "equity",
        start + charts.line(x, scale.place(result.benchmark), "benchmark")
        + charts.line(x, scale.place(result.equity), "equity") + latch,
        280, charts.marks(scale, "{:,.0f}".format), days, "Equity and benchmark",
    )  # fmt: skip
    falls = -metrics.drawdowns(result.equity, result.cash)
    depth = charts.Scale(min(float(falls.min()) * 1.05, -0.001), 0.0)
    fall = charts.frame(
        "drawdown", charts.area(x, depth.place(falls), 0.0, "fall"), 110,
        charts.marks(depth, "{:.1%}".format, 3), days, "Drawdown",
    )  # fmt: skip
    long, short = _shares(result)
    use = charts.scale_over(long, -short, zero=True)
    zero = float(use.place(np.array([0.0]))[0])
    exposure = charts.frame(
        "exposure",
        charts.area(x, use.place(long), zero, "long") + charts.area(x, use.place(-short), zero, "short")
        + f'<path class="zero" d="M0,{zero:.1f}H1000"/>',
        110, charts.marks(use, "{:.0%}".format, 3), days, "Long and short exposure",
    )  # fmt: skip
    log = ", by ratio" if scale.log else ""
    bite = '<span class="key" style="--c:var(--bad)">a drawdown limit begins to bite</span>' if latch else ""
    return (
        f'<h2 id="curve">Curve</h2><figure><figcaption><strong>Equity at each close{log}, USD</strong>'
        '<span class="key" style="--c:var(--accent)">account</span>'
        f'<span class="key" style="--c:var(--other)">benchmark: the universe in equal parts</span>{bite}</figcaption>'
        f"{curve}{_regime_strip(content, result)}</figure>"
        f"<figure><figcaption><strong>Drawdown</strong></figcaption>{fall}</figure>"
        '<figure><figcaption><strong>Exposure, share of equity</strong><span class="key" style="--c:var(--good)">long'
        '</span><span class="key" style="--c:var(--bad)">short</span></figcaption>'
        f"{exposure}</figure>"
    )


def _regime_strip(content: Document, result: BacktestResult) -> str:
    colours = dict(zip(content["regimes"], _REGIME_COLOURS * len(content["regimes"]), strict=False))
    bands = "".join(
        f'<i style="--c:{colours[name]};flex:{sum(1 for _ in run)}"></i>' for name, run in groupby(result.regimes)
    )
    keys = "".join(
        f'<span class="key" style="--c:{colours[name]}">{escape(name)}, {count:,} sessions</span>'
        for name, count in content["regimes"].items()
    )
    return f'<div class="strip" aria-hidden="true">{bands}</div><figcaption><strong>Regime</strong>{keys}</figcaption>'


def _months(result: BacktestResult) -> str:
    monthly = metrics.monthly_returns(result.sessions, metrics.returns(result.equity, result.cash))
    bench = metrics.yearly_returns(
        metrics.monthly_returns(result.sessions, metrics.returns(result.benchmark, result.cash))
    )
    most = max(map(abs, monthly.values()), default=0.0) or 1.0
    rows = []
    for year, whole in metrics.yearly_returns(monthly).items():
        cells = []
        for month in range(1, 13):
            value = monthly.get((year, month))
            if value is None:
                cells.append("<td></td>")
            else:
                heat = min(round(70 * math.sqrt(abs(value) / most)), 70) if value else 0
                cells.append(f'<td class="{"up" if value >= 0 else "down"}" style="--h:{heat}">{_percent(value)}</td>')
        rows.append(
            f'<tr><th scope="row">{year}</th>{"".join(cells)}<td class="{sign(whole)}"><b>{_percent(whole)}</b></td>'
            f'<td class="soft">{bench[year]:.1%}</td></tr>'
        )
    head = "".join(f'<th class="n" scope="col">{name}</th>' for name in (*_MONTHS, "year", "benchmark"))
    return (
        f'<h2 id="months">Months</h2><div class="wide"><table class="heat"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _groups(content: Document) -> str:
    tables: tuple[tuple[str, Callable[[Row], str | None]], ...] = (
        ("strategy", lambda row: row["strategy"]),
        ("strategy and side", lambda row: f"{row['strategy']} {row['direction']}"),
        ("regime at entry", lambda row: row["regime"]),
        ("entry group", lambda row: row["entry_group"]),
        ("exit rule", lambda row: row["exit_rule"]),
        ("sector", lambda row: row["sector"]),
    )
    if not any(row["pnl"] is not None for row in content["trades"]):
        return '<h2 id="results">Results</h2><p>No trade was closed.</p>'
    found = "".join(_group_table(name, by_group(content["trades"], key)) for name, key in tables)
    return f'<h2 id="results">Results of closed trades</h2><div class="two">{found}</div>'


def _group_table(name: str, groups: Sequence[Row]) -> str:
    most = max((abs(group["pnl"]) for group in groups), default=0.0) or 1.0
    rows = []
    for group in groups:
        colour = "good" if group["pnl"] >= 0 else "bad"
        meter = f'<i class="meter" style="--c:var(--{colour});--w:{100 * abs(group["pnl"]) / most:.0f}%"></i>'
        rows.append(
            [
                Cell(group["name"]), Cell(f"{group['trades']:,}", group["trades"]),
                Cell(f"{group['pnl']:+,.0f}", group["pnl"], sign(group["pnl"])),
                Cell("–" if group["hit_rate"] is None else f"{group['hit_rate']:.0%}", group["hit_rate"]),
                Cell(shown(group["expectancy_r"], "r"), group["expectancy_r"]),
                Cell(shown(group["profit_factor"], "number"), group["profit_factor"]),
                Cell("", group["pnl"], html=meter),
            ]
        )  # fmt: skip
    numbers = ((heading, True) for heading in ("trades", "USD", "hits", "mean", "factor"))
    head = ((name, False), *numbers, ("", False))
    return f"<div>{table(head, rows)}</div>"


def _trades_at_a_glance(content: Document) -> str:
    closed = [row for row in content["trades"] if row["r"] is not None]
    if not closed:
        return '<h2 id="trades-at-a-glance">Trades at a glance</h2><p>No trade was closed.</p>'
    r = np.array([row["r"] for row in closed])
    worst = sorted((row for row in content["trades"] if row["pnl"] is not None), key=lambda row: row["pnl"])[:_WORST]
    numbers = {id(row): number for number, row in enumerate(content["trades"])}
    links = {key: f'<a href="#all-trades" data-open="{number}">' for key, number in numbers.items()}
    rows = [
        [
            Cell(row["symbol"], html=f"{links[id(row)]}{escape(row['symbol'])}</a>"),
            Cell(row["strategy"]), Cell(row["direction"]), Cell(row["entered_at"][:10]),
            Cell(row["exited_at"][:10]), Cell(row["exit_rule"] or ""), Cell(shown(row["r"], "r"), row["r"]),
            Cell(f"{row['pnl']:+,.0f}", row["pnl"], sign(row["pnl"])),
        ]
        for row in worst
    ]  # fmt: skip
    head = (("symbol", False), ("strategy", False), ("side", False), ("entered", False), ("left", False),
            ("exit rule", False), ("R", True), ("USD", True))  # fmt: skip
    caption = "<figcaption><strong>{}, R</strong><span>{}</span></figcaption>"
    worst_caption = caption.format("Worst moment against result", "nothing can lie below the diagonal")
    best_caption = caption.format("Best moment against result", "far below the diagonal: gains given back")
    return (
        '<h2 id="trades-at-a-glance">Trades at a glance</h2>'
        '<p class="soft">R: what a trade gained in units of what it risked, the planned stop distance times its '
        f"shares. Values beyond {_R_RANGE[0]:g} and {_R_RANGE[1]:g} R stand at the edge.</p>"
        f"<figure>{caption.format('Distribution of results', '')}{_histogram(r)}</figure>"
        f'<div class="two"><figure>{worst_caption}{_scatter(closed, "mae")}</figure>'
        f"<figure>{best_caption}{_scatter(closed, 'mfe')}</figure></div>"
        f"<h3>The {len(worst)} worst trades</h3>{table(head, rows)}"
    )


def _histogram(r: Array) -> str:
    low, high = _R_RANGE
    edges = np.arange(low, high + 0.125, 0.25)
    counts, _ = np.histogram(np.clip(r, low, high - 1e-9), edges)
    tallest = charts.Scale(0.0, float(counts.max()) * 1.05)
    places = (edges - low) / (high - low) * charts.SIZE
    tops = tallest.place(counts.astype(np.float64))
    bars = "".join(
        charts.bar(places[i] + 2, places[i + 1] - 2, tops[i], charts.SIZE, "win" if edges[i] >= 0 else "loss",
                   f"{edges[i]:+.2f} to {edges[i + 1]:+.2f} R: {count}")
        for i, count in enumerate(counts.tolist()) if count
    )  # fmt: skip
    whole = np.arange(low, high + 0.5).tolist()
    below = [charts.Mark((at - low) / (high - low) * 100, _multiple(at)) for at in whole]
    left = charts.marks(tallest, "{:.0f}".format, 4)
    return charts.frame("histogram", bars, 180, left, below, "Distribution of results in R")


def _scatter_scales() -> tuple[charts.Scale, charts.Scale, charts.Scale]:
    """Of the result, of the worst and of the best moment."""
    low, high = _R_RANGE
    return charts.Scale(low, high), charts.Scale(low, 0.0), charts.Scale(0.0, high)


def _scatter_places(closed: Sequence[Row], which: str) -> tuple[Array, Array]:
    result, worst, best = _scatter_scales()
    across = worst if which == "mae" else best
    moments = np.array([row[f"{which}_r"] for row in closed])
    results = np.array([row["r"] for row in closed])
    x = charts.SIZE - across.place(np.clip(moments, across.low, across.high))
    return x, result.place(np.clip(results, result.low, result.high))


def _scatter(closed: Sequence[Row], which: str) -> str:
    """The moment across, the result up."""
    result, worst, best = _scatter_scales()
    across = worst if which == "mae" else best
    x, y = _scatter_places(closed, which)
    won = np.array([row["pnl"] > 0 for row in closed])
    span = across.high - across.low
    below = [charts.Mark((at - across.low) / span * 100, _multiple(at)) for at in across.ticks(4)]
    ends = result.place(np.array([across.low, across.high]))
    diagonal = charts.line(np.array([0.0, charts.SIZE]), ends, "zero")
    drawing = diagonal + charts.dots(x[~won], y[~won], "loss") + charts.dots(x[won], y[won], "win")
    label = "Worst moment against result" if which == "mae" else "Best moment against result"
    return charts.frame(which, drawing, 300, charts.marks(result, _multiple, 7), below, label)


def _rules(content: Document) -> str:
    rows = []
    for item in content["rules"]:
        unknown = item["unknown"]
        rows.append(
            [
                Cell(item["stage"]), Cell(item["rule"]),
                *(Cell(f"{item[key]:,}", item[key]) for key in ("evaluated", "matched", "decided")),
                Cell("" if unknown is None else f"{unknown:,}", unknown),
                Cell(content["limited_since"].get(item["rule"], "") if item["stage"] == "limits" else ""),
            ]
        )  # fmt: skip
    head = (("stage", False), ("rule", False), ("judged", True), ("matched", True), ("decided", True),
            ("unknown", True), ("first kept out on", False))  # fmt: skip
    silent = [not item["decided"] for item in content["rules"]]
    strategies = [
        [
            Cell(item["strategy"]), Cell(f"{item['signals']:,}", item["signals"]),
            Cell(f"{item['saturated']:.1%}", item["saturated"], "bad" if item["saturated"] > SATURATES else ""),
            Cell(f"{item['trades']:,}", item["trades"]),
        ]
        for item in content["strategies"]
    ]  # fmt: skip
    fired = (("strategy", False), ("signals", True), ("of full strength", True), ("trades", True))
    quiet = [not item["trades"] for item in content["strategies"]]
    return (
        '<h2 id="rules">Rules</h2><p class="soft">How often each rule was judged, matched, and decided the outcome; '
        "unknown: a fact it reads was not there. In sizing, decided counts how often a value was the least; in the "
        "score, how often a part added something. Red: never decided, never traded.</p>"
        f"{table(head, rows, silent)}<h3>Signals</h3>{table(fired, strategies, quiet)}"
    )


def _data(content: Document) -> str:
    jumps = ""
    if content["jumps"]:
        rows = [
            [
                Cell(item["symbol"]), Cell(item["session"]), Cell(f"{item['move']:+.1%}", item["move"]),
                Cell(f"{item['market']:+.1%}", item["market"]),
                Cell("held through it" if item["touches"] == "held" else "entered within 30 days after"),
            ]
            for item in content["jumps"]
        ]  # fmt: skip
        head = (("symbol", False), ("session", False), ("overnight", True), ("market", True), ("trade", False))
        jumps = (
            f"<h3>Overnight jumps beyond {JUMP:.0%} that the market did not make</h3>"
            '<p class="soft">News, or a spin-off or split that the prices are not adjusted for: then the trade is not '
            f"real. Check these.</p>{table(head, rows)}"
        )
    return (
        f'<h2 id="data">Data and assumptions</h2><h3>What to keep in mind</h3>{bullets(content["caveats"])}{jumps}'
        f"<h3>How a session is played</h3>{bullets(ASSUMPTIONS)}"
    )


def _configuration(content: Document, result: BacktestResult) -> str:
    params = _without_defaults(result.view.rulebook.params.model_dump(mode="json"))
    dumped = yaml.safe_dump(params, sort_keys=False, width=110, allow_unicode=True)
    return (
        f'<h2 id="configuration">Configuration</h2><p>Hash <code>{escape(content["config_hash"])}</code></p>'
        f"<details><summary>Everything that decided</summary><pre>{escape(dumped)}</pre></details>"
    )


def _without_defaults(value: Any) -> Any:
    """The same without keys that say nothing."""
    if isinstance(value, Mapping):
        return {key: _without_defaults(item) for key, item in value.items() if item is not None and item != {}}
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    return value


def _all_trades(content: Document) -> str:
    if not content["trades"]:
        return '<h2 id="all-trades">All trades</h2><p>Nothing was entered.</p>'
    rows = []
    for row in content["trades"]:
        gain = row["marked_gain"] if row["pnl"] is None else row["pnl"]
        rows.append(
            [
                Cell(row["symbol"], html=f'<button aria-expanded="false">{escape(row["symbol"])}</button>'),
                Cell(row["strategy"]), Cell(row["direction"]), Cell(f"{row['quantity']:,}", row["quantity"]),
                Cell(_minute(row["entered_at"])), Cell(f"{row['entry_price']:,.2f}", row["entry_price"]),
                Cell("open" if row["exited_at"] is None else _minute(row["exited_at"])),
                Cell(f"{row['marked_price'] if row['exit_price'] is None else row['exit_price']:,.2f}"),
                Cell(row["exit_rule"] or "open"), Cell(str(row["sessions_held"])),
                Cell(f"{gain:+,.0f}", gain, sign(gain)), Cell("" if row["r"] is None else f"{row['r']:+.2f}"),
                Cell(f"{row['mae']:,.0f}", row["mae"]), Cell(f"{row['mfe']:,.0f}", row["mfe"]),
            ]
        )  # fmt: skip
    head = (("symbol", False), ("strategy", False), ("side", False), ("shares", True), ("entered", False),
            ("at", True), ("left", False), ("at", True), ("exit rule", False), ("held", True), ("USD", True),
            ("R", True), ("worst", True), ("best", True))  # fmt: skip
    every = table(head, rows, name="trades")
    return (
        '<h2 id="all-trades">All trades</h2><p class="soft">Open one to see its signal and every rule that judged its '
        "entry and its exit, with the numbers. Open positions are valued at their last close. On daily bars the time "
        "of day is the path's: the open for the entries of all groups, then a third and two thirds of the session.</p>"
        '<input type="search" id="filter" placeholder="filter: symbol, strategy, exit rule, 2020-03 ..." '
        f'aria-label="Filter trades">{every}'
    )


def _page_data(content: Document, result: BacktestResult) -> dict[str, Any]:
    closed = [row for row in content["trades"] if row["r"] is not None]
    names = [f"{row['symbol']} {row['direction']}, {row['strategy']}\n{row['entered_at'][:10]} to "
             f"{row['exited_at'][:10]}, {row['exit_rule']}\n{row['r']:+.2f} R, {row['pnl']:+,.0f} USD"
             for row in closed]  # fmt: skip
    long, short = _shares(result)
    return {
        "days": [day.isoformat() for day in result.sessions],
        "equity": _rounded(result.equity, 0),
        "benchmark": _rounded(result.benchmark, 0),
        "drawdown": _rounded(metrics.drawdowns(result.equity, result.cash), 4),
        "long": _rounded(long, 4),
        "short": _rounded(short, 4),
        "regimes": list(result.regimes),
        "scatter": {
            "names": names,
            **{which: _pairs(*_scatter_places(closed, which)) if closed else [] for which in ("mae", "mfe")},
        },
        "why": explanations(result) | {"about": [_about(row) for row in content["trades"]]},
    }


def _about(row: Row) -> str:
    """What a trade was, in a line."""
    risk = "unknown" if row["risk"] is None else f"{row['risk']:,.0f} USD"
    return (
        f"{row['sector'] or 'no sector'}; regime {row['regime']}, group {row['entry_group']}, rank {row['rank']}, "
        f"score {row['score']:.3f}; risked {risk}, costs {row['costs']:,.2f} USD"
    )


def _rounded(values: Array, digits: int) -> list[float]:
    found = np.round(values, digits).tolist()
    return [int(value) for value in found] if digits == 0 else found


def _pairs(x: Array, y: Array) -> list[list[int]]:
    return [[round(a), round(b)] for a, b in zip(x.tolist(), y.tolist(), strict=True)]


def _shares(result: BacktestResult) -> tuple[Array, Array]:
    """Long and short exposure over equity; 0 where there is none left."""
    equity = np.where(result.equity > 0.0, result.equity, np.inf)
    return result.long_exposure / equity, result.short_exposure / equity


def _value(key: str, value: float | str | None) -> str:
    """The exact number behind a shown one."""
    return f'data-key="{escape(key)}" data-value="{escape("" if value is None else str(value))}"'


def _minute(stamp: str) -> str:
    """2020-03-12 09:30"""
    return stamp[:16].replace("T", " ")


def _multiple(value: float) -> str:
    return f"{value:+.0f}" if value else "0"


def _percent(value: float) -> str:
    """-0.0% is none."""
    text = f"{value:.1%}"
    return "0.0%" if text == "-0.0%" else text


def _id(name: str) -> str:
    return name.lower().replace(" ", "-")
