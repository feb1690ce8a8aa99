"""From files to a configuration, or to all problems at once: any bytes, several files, and what does not follow."""

from __future__ import annotations

import os
import random
import shutil
import stat
import time
from pathlib import Path

import pytest

from autotrader.rules.problems import render_github, render_json, render_sarif, render_text
from autotrader.settings import SystemSettings
from autotrader.validation.codes import CODES
from autotrader.validation.load import Loaded, _packaged_params, load_configuration, load_files

from .edits import DEFAULT, mutated

CONFIG = Path(__file__).parents[2] / "config"


def edited(folder: Path, *edits: tuple[str, str]) -> Loaded:
    text = DEFAULT
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "strategy_params.yaml").write_text(text)
    return load_configuration(folder)


def errors(loaded: Loaded) -> list[str]:
    return [problem.code for problem in loaded.problems if problem.severity == "error"]


# --- files --------------------------------------------------------------------------------------------------------


def test_the_default_configuration_loads_and_can_be_run() -> None:
    loaded = load_configuration(CONFIG)
    assert loaded.configuration is not None
    assert loaded.exit_code() == 0
    assert loaded.exit_code(strict=True) == 1
    assert len(loaded.configuration.settings.config_hash) == 64
    assert loaded.configuration.enabled == tuple(loaded.configuration.settings.params.strategies)
    assert list(loaded.configuration.strategies()) == list(loaded.configuration.enabled)


def test_a_folder_without_the_systems_file_has_the_systems_defaults(tmp_path: Path) -> None:
    loaded = edited(tmp_path)
    assert loaded.configuration is not None
    assert loaded.configuration.settings.system == SystemSettings()
    assert loaded.configuration.blackouts == ()


@pytest.mark.parametrize("content", [
    b"", b"\x00", b"\x00" * 10_000, bytes(range(256)) * 40, b"\xff\xfe" + "a: 1".encode("utf-16-le"), b"\xef\xbb\xbf",
    DEFAULT.encode()[:3001], DEFAULT.encode("utf-16"), DEFAULT.encode("cp1252", "replace").replace(b"#", b"\xe9"),
    b"a" * 1_000_000, b"{" * 999_999, b"- " * 400_000, b"a: *x\n" * 1000, b"%PDF-1.4\n\xe2\xe3", b"null", b"[]", b"7%",
])  # fmt: skip
@pytest.mark.parametrize("name", ["strategy_params.yaml", "default.yaml", "blackouts.csv"])
def test_any_bytes_are_a_clear_error(tmp_path: Path, name: str, content: bytes) -> None:
    shutil.copytree(CONFIG, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_bytes(content)
    start = time.perf_counter()
    loaded = load_configuration(tmp_path)
    assert time.perf_counter() - start < 5
    assert loaded.exit_code() == 1
    assert loaded.configuration is None
    rendered_in_every_form(loaded)


def rendered_in_every_form(loaded: Loaded) -> None:
    render_text(loaded.problems, loaded.sources)
    render_json(loaded.problems, loaded.sources)
    render_github(loaded.problems, loaded.sources)
    render_sarif(loaded.problems, loaded.sources, CODES)


@pytest.mark.parametrize("name", ["strategy_params.yaml", "default.yaml", "blackouts.csv"])
def test_what_cannot_be_opened_is_unreadable(tmp_path: Path, name: str) -> None:
    shutil.copytree(CONFIG, tmp_path, dirs_exist_ok=True)
    target = tmp_path / name
    target.unlink()
    target.mkdir()
    assert load_configuration(tmp_path).exit_code() == 2
    target.rmdir()
    target.symlink_to("nowhere")
    assert load_configuration(tmp_path).exit_code() == 2
    assert load_files([tmp_path / "missing" / name, tmp_path / "nul\0.yaml"]).exit_code() == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_unreadable(tmp_path: Path) -> None:
    edited(tmp_path)
    (tmp_path / "strategy_params.yaml").chmod(stat.S_IWUSR)
    assert load_configuration(tmp_path).exit_code() == 2


def test_several_files_are_checked_at_once_and_told_in_order(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("feed: {name: syntetic}\nlogging: {level: loud}\n")
    (tmp_path / "blackouts.csv").write_text("symbol,from,to,reason\nX,2026-13-01,2026-01-02,\n")
    loaded = edited(tmp_path, ("top_candidates: 12", "top_candidate: 12"), ("clip(atr", "clip(art"))
    places = [(Path(problem.file).name, problem.line, problem.column) for problem in loaded.problems]
    assert places == sorted(places)
    assert errors(loaded) == ["blackouts", "unknown-plugin", "not-allowed", "unknown-key", "unknown-fact"]


def test_blackouts_are_read_with_comments_quotes_and_blank_lines(tmp_path: Path) -> None:
    text = '\ufeff# earnings\r\nsymbol, from, to, reason\r\n\r\nON,2026-02-01,2026-02-03,"earnings, then split"\r\n'
    (tmp_path / "blackouts.csv").write_text(text, newline="")
    loaded = edited(tmp_path)
    assert loaded.configuration is not None
    (row,) = loaded.configuration.blackouts
    assert (row.symbol, row.reason) == ("ON", "earnings, then split")


# --- all at once, and nothing twice -------------------------------------------------------------------------------


def test_structure_names_and_yaml_are_told_together(tmp_path: Path) -> None:
    loaded = edited(
        tmp_path,
        ('scan_time: "20:00"', "scan_time: 20:00"),
        ("min_coverage: 0.90", "min_coverage: most"),
        ("when: exited_today", "when: > 5"),
        ("loss_per_share >= stop_distance", "clsoe <= stop_distance"),
        ("weight: 0.40", "weight: 0.50"),
        ("sl_atr_mult: 1.5", "sl_atr_mlt: 1.5"),
    )
    assert errors(loaded) == [
        "ambiguous-time", "wrong-type", "misspelt-name", "weights-sum", "unknown-fact", "needs-quotes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "edit",
    [
        ("rsi: {kind: rsi,", "rsi: {kind: rsy,"),
        ("rsi: {kind: rsi, length: 14}", "rsi: 14"),
        ("sl_atr_mult: 2.0", "sl_atr_mult: two"),
        ("  max_gap_pct: 3%", "  max_gap_pct: three"),
        ("    max_long: 6\n", "    max_long: six\n"),
        ("weight: 0.40", "weight: most"),
        ("{name: RANGING, when", "{nam: RANGING, when"),
        ("strategies: [adx_pullback, bb_squeeze, regime_momentum]", "strategies: adx_pullback"),
        ("  confirmation:\n", "  confirm-ation:\n"),
        ("  bb_squeeze:\n", "  bb_sqeeze:\n"),
        ("\nrisk:\n", "\nrsik:\n"),
        ("\nstrategies:\n", "\nstrategis:\n"),
        ("\nindicators:\n", "\nindicatrs:\n"),
        ("TREND: {rsi_mean_reversion: 0.15", "TREND: {rsi_mean_reversion: x"),
        ("- {name: time_exit, when", "- {name: time_exit, wehn"),
        ("kind: universe_rank", "kind: universe_rnak"),
        ("  stop_distance: ", "  stop_distanc: "),
        ("    regime_momentum:\n".removeprefix("  "), "  regime-momentum:\n"),
    ],
)
def test_what_follows_from_a_mistake_is_not_told(tmp_path: Path, edit: tuple[str, str]) -> None:
    loaded = edited(tmp_path, edit)
    rendered = render_text(loaded.problems, loaded.sources)
    told = [problem for problem in loaded.problems if problem.code != "hidden-stop"]
    assert len(told) == 1, rendered


def test_two_values_missing_at_one_place_are_both_told(tmp_path: Path) -> None:
    block = "    sl_atr_mult: 1.5\n    tp_atr_mult: 2.5\n    tp_rsi: {long: 70}\n    max_hold_days: 7\n"
    loaded = edited(tmp_path, (block, "    tp_atr_mult: 2.5\n    tp_rsi: {long: 70}\n"))
    assert errors(loaded) == ["missing-value", "missing-value"]


def test_a_regime_that_a_rule_names_by_its_outcome_is_one(tmp_path: Path) -> None:
    loaded = edited(
        tmp_path,
        ("{name: RANGING, when", "{name: quiet, then: RANGING, when"),
        ("regime_weight < 0.05", 'regime == "RANGING"'),
    )
    assert errors(loaded) == []


# --- plugins ------------------------------------------------------------------------------------------------------


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, *points: str) -> None:
    """A distribution with plugins of these entry points in a module of this code."""
    packages = folder / "packages"
    info = packages / f"{points[0]}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {points[0]}\nVersion: 1.0\n")
    lines = [f"{point} = {points[0]}_module:Plugin" for point in points]
    (info / "entry_points.txt").write_text("\n".join(["[autotrader.strategies]", *lines, ""]))
    (packages / f"{points[0]}_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(packages))


PLUGIN = """
from pydantic import BaseModel
class Plugin:
    class Params(BaseModel):
        span: float = 1
    reads = ("close",)
    def __init__(self, params):
        {body}
    def signals(self, series):
        return []
"""
OF_MINE = ("\nstrategies:\n", "\nstrategies:\n  mine: {plugin: third, enabled: false}\n")


def test_a_plugin_that_fails_to_start_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, PLUGIN.format(body="raise RuntimeError('no licence')"), "third")
    loaded = edited(tmp_path, OF_MINE)
    (problem,) = (each for each in loaded.problems if each.severity == "error")
    assert problem.code == "failing-plugin"
    assert "no licence" in problem.message


def test_a_plugin_of_others_has_its_parameters_checked_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch, PLUGIN.format(body="pass"), "fourth")
    new = "\nstrategies:\n  mine: {plugin: fourth, enabled: false, signal: {span: wide}}\n"
    loaded = edited(tmp_path, ("\nstrategies:\n", new))
    (problem,) = (each for each in loaded.problems if each.severity == "error")
    assert (problem.code, problem.column) == ("wrong-type", new.split("\n")[2].index("wide") + 1)


# --- any edit -----------------------------------------------------------------------------------------------------


def test_no_edit_of_the_configuration_ends_in_a_traceback(tmp_path: Path) -> None:
    random_ = random.Random(20)
    slowest, sound = 0.0, 0
    codes: set[str] = set()
    for number in range(120):
        (tmp_path / "strategy_params.yaml").write_bytes(mutated(DEFAULT, random_))
        start = time.perf_counter()
        loaded = load_configuration(tmp_path)
        slowest = max(slowest, time.perf_counter() - start)
        assert (loaded.configuration is None) == bool(errors(loaded)), number
        sound += loaded.configuration is not None
        rendered_in_every_form(loaded)
        codes |= {problem.code for problem in loaded.problems}
        told = {(p.line, p.column, p.message) for p in loaded.problems}
        assert len(told) == len(loaded.problems)
        lines = loaded.sources[str(tmp_path / "strategy_params.yaml")].split("\n")
        for problem in loaded.problems:
            assert 1 <= problem.line <= len(lines)
            assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
            assert problem.length >= 1
    assert codes <= set(CODES)
    assert 0 < sound < 120
    assert slowest < 2


def test_a_thousand_rules_are_checked_in_bounded_time(tmp_path: Path) -> None:
    rule = '    - {{name: rule_{0}, when: loss_pct >= {0}.5 and days_held > {0} and direction == "long", then: hold}}\n'
    many = "".join(rule.format(number) for number in range(1000))
    start = time.process_time()
    loaded = edited(tmp_path, ("    - {name: emergency_immediate", f"{many}    - {{name: emergency_immediate"))
    assert errors(loaded) == []
    assert time.process_time() - start < 4  # measured: see benchmarks/bench_validate.py; this catches a change in kind


def test_a_mistake_that_two_forms_refuse_takes_nothing_else_with_it(tmp_path: Path) -> None:
    """A value of a strategy may be a number or one for each side: neither fits, and the others still stand."""
    loaded = edited(tmp_path, ("trail_from_atr: 1.0", "trail_from_atr: one"), ("abs(gap_pct)", "abs(gap_prc)"))
    errors = [problem.code for problem in loaded.problems if problem.severity == "error"]
    assert errors == ["wrong-type", "unknown-fact"]


def test_a_packaged_configuration_that_is_broken_itself_is_told_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a checkout the file that is being edited is the packaged one."""
    monkeypatch.setattr("autotrader.validation.load.PACKAGED_CONFIG", tmp_path)
    _packaged_params.cache_clear()
    try:
        loaded = edited(tmp_path, ("when: loss_per_share >= stop_distance, then: exit}", "when: gian, then: exit"))
        assert "syntax" in {problem.code for problem in loaded.problems}
    finally:
        _packaged_params.cache_clear()
