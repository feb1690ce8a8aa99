"""Whatever goes wrong, and wherever the plug is pulled: nothing twice, nothing flipped, nothing forgotten."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .bugs import BUGS, Bug, planted, seeds_needed
from .chaos import Chaos, Outcome, play


def run(chaos: Chaos) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return play(chaos, Path(folder))


CHAOS = st.builds(
    Chaos,
    seed=st.integers(0, 100_000),
    rate=st.sampled_from([0.0, 0.02, 0.05, 0.15]),
    kills=st.sampled_from([0.0, 0.01, 0.03]),
    outage=st.sampled_from([0, 0, 3, 20]),
    sessions=st.sampled_from([1, 2]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(CHAOS)
def test_every_invariant_holds_through_faults_and_kills(chaos: Chaos) -> None:
    outcome = run(chaos)
    assert outcome.counts["sessions"] == chaos.sessions


@pytest.mark.parametrize("seed", range(12))
def test_a_run_that_is_killed_anywhere_ends_as_one_that_is_not(seed: int) -> None:
    whole, interrupted = run(Chaos(seed)), run(Chaos(seed, kills=0.04))
    assert interrupted.end == whole.end


def test_the_runs_are_wild_enough_to_mean_something() -> None:
    total: dict[str, int] = {}
    for seed in range(8):
        for name, count in run(Chaos(seed, rate=0.1, kills=0.02)).counts.items():
            total[name] = total.get(name, 0) + count
    assert total["kills"] > 20
    assert total["Filled"] > 30
    assert total["Leaving"] > 5
    assert sum(count for name, count in total.items() if name.startswith("fault: ")) > 50


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_can_still_be_planted(bug: Bug) -> None:
    with planted(bug):
        pass


@pytest.mark.parametrize("bug", [BUGS[0], BUGS[7]], ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert seeds_needed(bug, 10)[0] is not None
