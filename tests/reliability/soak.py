"""The long form: many seeds, on all cores, with counts of everything that happened.

`make soak SEEDS=1000`; a seed that fails is printed with how to repeat it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .chaos import Chaos, play

RATES, KILLS, OUTAGES = (0.0, 0.02, 0.05, 0.15), (0.0, 0.01, 0.03), (0, 0, 3, 20)


def chaos(seed: int) -> Chaos:
    """Every combination comes round."""
    return Chaos(seed, rate=RATES[seed % 4], kills=KILLS[seed // 4 % 3], outage=OUTAGES[seed // 12 % 4])


def one(seed: int) -> tuple[Counter[str], str | None]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("SOAK_DIR")) as folder:
        try:
            wild = play(chaos(seed), Path(folder))
        except AssertionError as error:
            return Counter(), str(error)
    if seed % 5 == 0:  # and that kills alone change nothing
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            whole = play(Chaos(seed), Path(first))
            interrupted = play(Chaos(seed, kills=0.04), Path(second))
            if interrupted.end != whole.end:
                return wild.counts, f"seed {seed}: I17: a run that was killed ends otherwise than one that was not"
            wild.counts.update(interrupted.counts)
    return wild.counts, None


def main() -> int:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    began, total, failed = time.monotonic(), Counter[str](), 0
    with ProcessPoolExecutor() as pool:
        for counts, problem in pool.map(one, range(seeds), chunksize=4):
            total.update(counts)
            if problem is not None:
                failed += 1
                print(problem, flush=True)
    print(f"{seeds} seeds in {time.monotonic() - began:.0f} s")
    for name in sorted(total, key=lambda name: (name.startswith("fault"), name)):
        print(f"  {name:32} {total[name]:>9,}")
    print(f"  {'violations':32} {failed:>9,}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
