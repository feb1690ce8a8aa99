"""`autotrader validate`: from a cold start, and its work alone, against what it stands on.

.venv/bin/python benchmarks/bench_validate.py [--check]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from harness import AS_INSTALLED, ROOT, Report, compare, compare_processes
from jsonschema import Draft202012Validator

from autotrader.validation.load import load_configuration

CONFIG = ROOT / "config"
PARAMS = CONFIG / "strategy_params.yaml"
FLOOR = "import pydantic, yaml, jsonschema, typer"
# The first time in a process: what is imported counts for neither side, what is only made ready then does.
FIRST = """
import time
{imports}
from pathlib import Path
begun = time.process_time()
{work}
print(time.process_time() - begun)
"""
OURS = FIRST.format(
    imports="from autotrader.plugins import registry; from autotrader.validation.load import load_configuration\n"
    "from autotrader.plugins.strategies import "
    "adx_pullback, bb_squeeze, overbought_short, regime_momentum, rsi_mean_reversion",
    work=f"assert load_configuration(Path({str(CONFIG)!r})).configuration",
)
PLAIN = FIRST.format(
    imports=f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); from bench_validate import PARAMS, plain",
    work="plain(PARAMS)",
)
REPEATS = 15
COLD_LIMIT = 1.5
FIRST_LIMIT = 2.0
WARM_LIMIT = 3.0
MANY_LIMIT = 3.0


def main() -> None:
    report = Report("Checking the default configuration, CPU time")
    validate = [str(Path(sys.executable).with_name("autotrader")), "validate", "--home", str(ROOT)]
    cold = compare_processes(validate, [sys.executable, "-c", FLOOR], REPEATS)
    report.add("autotrader validate, against importing what it uses", *cold, COLD_LIMIT)
    first = [min(_printed(code) for _ in range(REPEATS)) for code in (OURS, PLAIN)]
    report.add("the first check, beyond imports (30 ms is the aim)", *first, FIRST_LIMIT)
    with tempfile.TemporaryDirectory() as name:
        for what, folder, limit in (
            ("loading and checking, against YAML and JSON Schema", CONFIG, WARM_LIMIT),
            ("the same with 1,000 exit rules more", _with_rules(Path(name), 1000), MANY_LIMIT),
        ):
            path = folder / "strategy_params.yaml"
            ours, theirs = compare(lambda folder=folder: load_configuration(folder), lambda path=path: plain(path))
            report.add(what, ours, theirs, limit)
    report.finish()


def plain(path: Path) -> None:
    """The least that a checker with less to say does: parse, and hold against the same schema."""
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    schema = json.loads((CONFIG / "schemas" / "strategy_params.schema.json").read_text(encoding="utf-8"))
    assert not list(Draft202012Validator(schema).iter_errors(data))


def _with_rules(folder: Path, count: int) -> Path:
    text = PARAMS.read_text(encoding="utf-8")
    rules = "".join(
        f"    - {{name: rule_{number}, when: loss_pct >= {number / 1000} and days_held > {number}, then: hold}}\n"
        for number in range(count)
    )
    first = "    - {name: emergency_immediate"
    assert first in text
    (folder / "strategy_params.yaml").write_text(text.replace(first, rules + first, 1), encoding="utf-8")
    return folder


def _printed(code: str) -> float:
    """What a process of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=AS_INSTALLED)
    return float(done.stdout)


if __name__ == "__main__":
    main()
