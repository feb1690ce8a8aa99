"""The report: one page that opens offline, whose numbers are the JSON document's."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from autotrader.backtest.engine import BacktestResult
from autotrader.backtest.output import MEASURES, Document, document
from autotrader.backtest.report import report
from autotrader.market.universe import Member

from .worlds import configure, market, run


@dataclass(frozen=True)
class Page:
    html: str
    content: Document
    result: BacktestResult

    @property
    def data(self) -> dict[str, Any]:
        found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', self.html, re.DOTALL)
        assert found is not None
        loaded: dict[str, Any] = json.loads(found.group(1))
        return loaded


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    configuration = configure(tmp_path_factory.mktemp("config"))
    found = run(configuration, market(40, date(2016, 1, 4), date(2018, 12, 31)))
    content = document(found, feed="test", notes=["a note <b>in bold</b>"])
    return Page(report(content, found).decode(), content, found)


class _Tags(HTMLParser):
    """Whether every element is closed, and what links there are."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [value for key in ("href", "src") if (value := values.get(key))]
        if values.get("id"):
            self.ids.add(str(values["id"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(html: str) -> _Tags:
    found = _Tags()
    found.feed(html)
    return found


def test_the_page_is_whole_and_loads_nothing_from_anywhere(page: Page) -> None:
    found = tags(page.html)
    assert found.open == []
    assert found.links
    assert all(link.startswith("#") for link in found.links)
    assert {link[1:] for link in found.links} <= found.ids
    for word in ("http://", "https://", "//cdn", "@import", "url("):
        assert word not in page.html


def test_its_policy_allows_its_own_script_and_no_other(page: Page) -> None:
    import base64

    script = re.findall(r"<script>(.*?)</script>", page.html, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.html
    assert "default-src 'none'" in page.html


@pytest.mark.parametrize(
    "words",
    [
        'data-chart="equity"', 'data-chart="drawdown"', 'data-chart="exposure"',
        "benchmark: the universe in equal parts", 'id="months"',
        ">strategy<", ">strategy and side<", ">regime at entry<", ">entry group<", ">exit rule<",
        'data-chart="histogram"', 'data-chart="mae"', 'data-chart="mfe"', "The 10 worst trades", 'id="trades"',
        'id="rules"', "How these are defined", "What to keep in mind", "How a session is played",
        "Everything that decided",
    ],
)  # fmt: skip
def test_every_part_is_there(page: Page, words: str) -> None:
    assert words in page.html


def test_every_metric_is_the_documents_and_is_defined(page: Page) -> None:
    assert len(MEASURES) == len({measure.key for measure in MEASURES})
    for measure in MEASURES:
        value = page.content["metrics"][measure.key]
        assert f'data-key="{measure.key}" data-value="{"" if value is None else value}"' in page.html
        assert measure.definition
    assert page.content["config_hash"] in page.html


def test_the_configuration_that_decided_is_in_it(page: Page) -> None:
    for words in ("max_position_pct: 0.1", "loss_pct &gt;= emergency_stop_pct", "regime_weight &lt; 0.05"):
        assert words in page.html


def test_every_trade_is_in_the_table_with_all_that_decided_it(page: Page) -> None:
    trades = page.content["trades"]
    assert page.html.count("<tr data-trade=") == len(trades) == len(page.data["why"]["trades"])
    rules = page.data["why"]["rules"]
    for trade, (signal, eligible, score, *decisions), item in zip(
        trades, page.data["why"]["trades"], page.result.trades, strict=True
    ):
        assert signal[:3] == ["signal", trade["direction"], trade["strategy"]]
        ((number, strength, facts),) = signal[4]
        assert 0 <= strength <= 1
        assert dict(zip(rules[number][2], facts, strict=True)).keys() == set(page.result.reads[trade["strategy"]])
        assert (eligible[0], eligible[1], score[0]) == ("eligible", "eligible", "score")
        assert score[3] == pytest.approx(trade["score"], rel=1e-5)
        assert strength in [facts[0] for number, _, facts in score[4] if rules[number][2] == ["strength"]]
        stages = [decision[0] for decision in decisions]
        assert stages[0] == "gap_filter"
        assert "limits" in stages
        assert "sizing" in stages
        for decision, told in zip(decisions, (*item.entry, item.exit), strict=False):
            assert told is not None
            assert decision[2] == told.rule
            assert [rules[number][0] for number, _, _ in decision[4]] == [fact.rule for fact in told.evidence]
        if trade["exit_rule"] not in {None, "protective_stop"}:  # that one is the broker's
            assert stages[-1] == "exit"
            assert decisions[-1][2] == trade["exit_rule"]


def test_the_curves_are_those_of_the_result(page: Page) -> None:
    data = page.data
    assert data["days"] == [row["date"] for row in page.content["equity"]]
    assert data["equity"] == [round(row["equity"]) for row in page.content["equity"]]
    assert data["benchmark"][-1] == round(float(page.result.benchmark[-1]))
    assert len(data["long"]) == len(data["short"]) == len(data["drawdown"]) == len(data["days"])
    assert max(data["drawdown"]) == pytest.approx(page.content["metrics"]["max_drawdown"], abs=1e-4)


def test_months_are_those_of_the_equity(page: Page) -> None:
    rows = page.content["equity"]
    before = [row["equity"] for row in rows if row["date"] < "2017-03"][-1]
    after = [row["equity"] for row in rows if row["date"] < "2017-04"][-1]
    row = re.search(r'<tr><th scope="row">2017</th>(.*?)</tr>', page.html)
    assert row is not None
    cells = re.findall(r"<td[^>]*>(?:<b>)?([^<]*)", row.group(1))
    assert cells[2] == f"{after / before - 1:.1%}".replace("-0.0%", "0.0%")


def test_texts_of_the_data_are_never_markup(tmp_path: Path, page: Page) -> None:
    assert "a note &lt;b&gt;in bold&lt;/b&gt;" in page.html
    panel = market(30, date(2017, 1, 3), date(2018, 12, 31))
    evil = "</script><script>alert(1)</script>"
    found = run(configure(tmp_path), panel, universe=[Member(name, name, evil) for name in panel.symbols])
    content = document(found, feed=evil)
    assert content["trades"]
    html = report(content, found).decode()
    assert "<script>alert" not in html
    assert tags(html).open == []


def test_the_documentation_defines_every_metric_as_the_report_does() -> None:
    text = (Path(__file__).parents[2] / "docs" / "backtest.md").read_text(encoding="utf-8")
    for measure in MEASURES:
        assert f"| {measure.label} | {measure.definition} |" in text
