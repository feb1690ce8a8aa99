"""What the README shows is what the program prints."""

from __future__ import annotations

from pathlib import Path

from .conftest import ROOT, Run

README = (ROOT / "README.md").read_text(encoding="utf-8")


def shown(command: str) -> list[str]:
    """The lines that the README prints below a command, up to the next one; "..." stands for any."""
    (below,) = README.split(f"$ {command}")[1:]
    text = below.split("```")[0].split("\n$ ")[0]
    return [line for line in text.splitlines()[1:] if line.strip() not in ("", "...")]


def test_the_days_that_are_played(run: Run) -> None:
    lines = shown("autotrader demo --start 2026-11-16")
    assert len(lines) > 10
    told = run("demo", "--start", "2026-11-16").out.splitlines()
    start = told.index(lines[0])
    assert told[start : start + len(lines)] == lines


def test_the_scan(run: Run) -> None:
    lines = shown("autotrader scan --date 2017-10-10")
    told = [line.rstrip() for line in run("scan", "--date", "2017-10-10").out.splitlines()]
    for line in lines:
        assert line.split() in [one.split() for one in told] or line.startswith("written to"), line


def test_the_rules_that_are_tested(run: Run) -> None:
    (line,) = shown("autotrader test")
    assert line in run("test").out


def test_the_ten_years(run: Run, real_data: Path) -> None:
    command = "autotrader backtest --from 2012-01-03 --to 2021-04-21 --data bars.parquet --universe symbols.csv"
    lines = shown(f"{command} --report report.html")
    bars, symbols = real_data / "sp500_daily.parquet", real_data / "sp500_constituents_2021.csv"
    told = run("backtest", "--from", "2012-01-03", "--to", "2021-04-21", "--data", bars, "--universe", symbols).out
    words = " ".join(told.split())
    *said, written = lines
    assert len(said) >= 5
    for part in " ".join(said).split("look at: "):
        for sentence in part.split(" no entries"):
            assert sentence.strip() in words, sentence
    assert written.startswith("written to report.html")

