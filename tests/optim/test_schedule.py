"""Learning-rate schedules: golden lists, and what holds for every run.

Rates of size 1 are a handful of float64 operations: 1e-12 leaves room for their roundings and for nothing else.
"""

from itertools import pairwise
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lm.optim.schedule import Schedule, learning_rate

ROUNDING = 1e-12
KINDS: tuple[Schedule, ...] = get_args(Schedule)


def rate(
    step: int,
    kind: Schedule,
    n_steps: int,
    n_warmup_steps: int,
    *,
    peak: float = 1.0,
    final: float = 0.0,
    decay_fraction: float = 0.4,
) -> float:
    """The learning rate of a step of a run."""
    return learning_rate(
        step,
        kind=kind,
        peak=peak,
        final=final,
        n_steps=n_steps,
        n_warmup_steps=n_warmup_steps,
        decay_fraction=decay_fraction,
    )


def rates(kind: Schedule, n_steps: int, n_warmup_steps: int, **changes: float) -> list[float]:
    """The learning rate of every step of a run."""
    return [rate(step, kind, n_steps, n_warmup_steps, **changes) for step in range(n_steps)]


# The eight steps after a warm-up of two come from a fall of eight equal parts, of which the last is never taken.
@pytest.mark.parametrize(
    ("kind", "final", "expected"),
    [
        ("constant", 0.0, [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", 0.0, [0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("linear", 0.2, [0.5, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]),
        ("wsd", 0.0, [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        ("wsd", 0.5, [0.5, 1, 1, 1, 1, 1, 1, 0.875, 0.75, 0.625]),
        (
            "cosine",  # (1 + cos(i pi / 8)) / 2
            0.0,
            [
                0.5,
                1,
                1,
                0.961939766255643,
                0.853553390593274,
                0.691341716182545,
                0.5,
                0.308658283817455,
                0.146446609406726,
                0.038060233744357,
            ],
        ),
    ],
)
def test_ten_steps_of_which_two_warm_up(kind: Schedule, final: float, expected: list[float]) -> None:
    assert rates(kind, 10, 2, final=final) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, 0.853553390593274, 0.5, 0.146446609406726]),
        ("wsd", [1, 1, 1, 0.5]),
    ],
)
def test_four_steps_without_warm_up(kind: Schedule, expected: list[float]) -> None:
    assert rates(kind, 4, 0) == pytest.approx(expected, abs=ROUNDING)


runs = st.integers(1, 60).flatmap(
    lambda n_steps: st.tuples(
        st.sampled_from(KINDS), st.just(n_steps), st.integers(0, n_steps), st.floats(0, 1), st.floats(0, 1)
    )
)
Run = tuple[Schedule, int, int, float, float]


@given(runs, st.floats(1e-5, 10))
def test_no_rate_passes_the_peak_or_falls_below_the_final_one_after_warm_up(run: Run, peak: float) -> None:
    kind, n_steps, n_warmup_steps, final, decay_fraction = run
    all_rates = rates(kind, n_steps, n_warmup_steps, peak=peak, final=final, decay_fraction=decay_fraction)
    assert max(all_rates) <= peak * (1 + ROUNDING)
    assert min(all_rates) >= 0
    after = all_rates[n_warmup_steps:]
    assert all(rate >= final * peak * (1 - ROUNDING) for rate in after)
    assert all(later <= earlier * (1 + ROUNDING) for earlier, later in pairwise(after))


@given(runs)
def test_warm_up_climbs_in_equal_steps_to_the_peak(run: Run) -> None:
    kind, n_steps, n_warmup_steps, final, decay_fraction = run
    warm_up = rates(kind, n_steps, n_warmup_steps, final=final, decay_fraction=decay_fraction)[:n_warmup_steps]
    assert warm_up == pytest.approx([(i + 1) / max(1, n_warmup_steps) for i in range(n_warmup_steps)], abs=ROUNDING)


@given(runs)
def test_every_step_learns_and_the_step_after_the_last_would_take_the_final_rate(run: Run) -> None:
    kind, n_steps, n_warmup_steps, final, decay_fraction = run
    assert min(rates(kind, n_steps, n_warmup_steps, decay_fraction=decay_fraction)) > 0
    falls = kind in {"cosine", "linear"} or (kind == "wsd" and round(decay_fraction * n_steps) > 0)
    falls = falls and n_warmup_steps < n_steps
    after = rate(n_steps, kind, n_steps, n_warmup_steps, final=final, decay_fraction=decay_fraction)
    assert after == pytest.approx(final if falls else 1.0, abs=ROUNDING)


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_wsd_is_stable_and_then_falls_in_equal_steps(n_steps: int, decay_fraction: float, final: float) -> None:
    all_rates = rates("wsd", n_steps, 0, final=final, decay_fraction=decay_fraction)
    n_decay = round(decay_fraction * n_steps)
    assert all_rates[: n_steps - n_decay] == [1.0] * (n_steps - n_decay)
    falling = [1 - (1 - final) * i / n_decay for i in range(n_decay)]
    assert all_rates[n_steps - n_decay :] == pytest.approx(falling, abs=ROUNDING)


@pytest.mark.parametrize("final", [0.0, 0.1])
@pytest.mark.parametrize("n_steps", [2, 7, 50])
def test_cosine_equals_pytorch_s(n_steps: int, final: float) -> None:
    # Theirs multiplies its way along, so roundings add up.
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_steps, eta_min=3.0 * final)
    expected = []
    for _ in range(n_steps):
        expected += theirs.get_last_lr()
        optimizer.step()
        theirs.step()
    assert rates("cosine", n_steps, 0, peak=3.0, final=final) == pytest.approx(expected, abs=1e-9)


def test_a_decay_that_would_begin_within_the_warm_up_waits_for_its_end() -> None:
    assert rates("wsd", 6, 4, decay_fraction=0.8) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.5], abs=ROUNDING)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_one_step(kind: Schedule) -> None:
    assert rates(kind, 1, 1, final=0.1, decay_fraction=1.0) == [1.0]
    assert rates(kind, 1, 0, final=0.1, decay_fraction=1.0) == [1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_up_longer_than_the_run_never_reaches_the_peak(kind: Schedule) -> None:
    assert rates(kind, 3, 6) == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=ROUNDING)


@pytest.mark.parametrize("kind", ["cosine", "linear", "wsd"])
def test_the_final_rate_holds_beyond_the_last_step(kind: Schedule) -> None:
    assert rate(25, kind, 10, 2, final=0.1) == pytest.approx(0.1, abs=ROUNDING)
