"""Tests of lm/generation/sampling.py and largest.py, with arrays and with tensors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch import Tensor

from lm.config.sample import SampleConfig
from lm.generation.cutoff import take, take_heaviest
from lm.generation.largest import largest
from lm.generation.on_device import choose_on_device, kept_weights
from lm.generation.sampling import GREEDY, Sampling, candidates, choose, draw

# Logits with ties, which a few decimals make likely.
# Temperatures above 0 at which even the difference of two such logits leaves the range of float64.
TINY = [1e-8, 1e-308, 5e-324]
# An array, and a tensor as if it were on a GPU.
KINDS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64] | Tensor]] = {
    "array": lambda x: x,
    "tensor": torch.from_numpy,
}
CHOOSE: dict[str, Callable[..., NDArray[np.int64]]] = {
    "array": choose,
    "tensor": lambda logits, *rest: choose_on_device(torch.from_numpy(logits), *rest),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
logits = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 12)),
    elements=st.integers(-40, 40).map(lambda tenths: tenths / 10),
)
temperatures = st.sampled_from([0.05, 0.5, 1.0, 2.0])
top_ks = st.none() | st.integers(1, 14)
top_ps = st.none() | st.sampled_from([0.001, 0.3, 0.5, 0.9, 0.999, 1.0])


def filtered(logits: NDArray[np.float64], sampling: Sampling, kind: str) -> NDArray[np.float64]:
    """The probability of each token of the vocabulary, as arrays are chosen from or as a GPU would choose."""
    if kind == "tensor":
        kept = kept_weights(torch.from_numpy(logits.copy()), sampling)
        probabilities: NDArray[np.float64] = (kept / kept.sum(-1, keepdim=True)).numpy()
        return probabilities
    return np.array([weights / weights.sum() for weights in all_weights(logits, sampling)])


def all_weights(logits: NDArray[Any], sampling: Sampling) -> NDArray[Any]:
    """The weight of each token of the vocabulary."""
    result = np.zeros_like(logits)
    for row, weights_of_row in zip(logits, result, strict=True):
        before = row.copy()
        ids, weights = candidates(row, sampling)
        assert np.array_equal(row, before), "the logits stay as they are"
        assert ids is None or (np.diff(ids) > 0).all()
        weights_of_row[slice(None) if ids is None else ids] = weights
    return result


def distribution(
    logits: NDArray[np.float64], temperature: float, top_k: int | None, top_p: float | None, kind: str = "array"
) -> NDArray[np.float64]:
    """The probability of each token of the vocabulary."""
    return filtered(logits, Sampling(temperature, top_k, top_p), kind)


def look_at_few(patch: pytest.MonkeyPatch, few: int) -> None:
    """Let the search for a cutoff sort no more than so many tokens at first."""
    patch.setattr("lm.generation.cutoff._FEW", few)
    patch.setattr("lm.generation.cutoff._STEP", min(few + 1, 64))
    patch.setattr("lm.generation.cutoff._MARGIN", min(few, 8))


def brute_force(row: list[float], temperature: float, top_k: int | None, top_p: float | None) -> list[float]:
    """The rules one after another, on a dictionary of probabilities."""
    weights = {id: math.exp((logit - max(row)) / temperature) for id, logit in enumerate(row)}
    ranked = sorted(weights, key=lambda id: (-row[id], id))[:top_k]
    total = math.fsum(weights[id] for id in ranked)
    if top_p is not None:
        n = next((n for n in range(1, len(ranked)) if sum(weights[id] for id in ranked[:n]) >= top_p * total), None)
        ranked = ranked[:n]
        total = math.fsum(weights[id] for id in ranked)
    return [weights[id] / total if id in ranked else 0.0 for id in range(len(row))]


@each_kind
@pytest.mark.parametrize("few", [1, 4096])
@given(logits, temperatures, top_ks, top_ps)
def test_the_distribution_follows_the_rules(
    kind: str,
    few: int,
    logits: NDArray[np.float64],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # so few that top-p needs a sample, and has to look at more than it
        look_at_few(patch, few)
        result = distribution(logits.copy(), temperature, top_k, top_p, kind)
    # Both sides are float64; where a sum just reaches p, rounding may keep or drop one more token than brute force.
    at_edge = top_p is not None and any(
        abs(total - top_p) < 1e-9
        for row in logits.tolist()
        for total in np.cumsum(sorted(brute_force(row, temperature, top_k, None), reverse=True))
    )
    assert (result >= 0).all()
    np.testing.assert_allclose(result.sum(-1), 1, rtol=0, atol=1e-12)
    if not at_edge:
        expected = [brute_force(row, temperature, top_k, top_p) for row in logits.tolist()]
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-300)


@each_kind
@given(logits, top_ks, top_ps, st.sampled_from([0.0, *TINY]), st.sampled_from([0.0, 0.5, 1 - 2**-53]))
def test_at_temperature_zero_the_likeliest_is_taken_the_lower_id_of_equals_and_near_zero_one_of_the_likeliest(
    kind: str, logits: NDArray[np.float64], top_k: int | None, top_p: float | None, temperature: float, u: float
) -> None:
    sampling = Sampling(temperature, top_k, top_p, min_p=top_p, typical_p=top_p)
    ids = CHOOSE[kind](logits, sampling, np.full(len(logits), u))
    if temperature == 0:
        assert ids.tolist() == logits.argmax(-1).tolist()
    assert (logits[np.arange(len(logits)), ids] == logits.max(-1)).all()


@each_kind
@given(logits, st.integers(1, 14))
def test_the_largest_are_the_first_of_a_stable_sort(kind: str, logits: NDArray[np.float64], n: int) -> None:
    ids, values = largest(KINDS[kind](logits), n)
    assert ids.tolist() == np.sort(np.argsort(-logits, kind="stable")[:, :n]).tolist()
    assert values.tolist() == np.take_along_axis(logits, ids, -1).tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_logits_of_any_precision_can_be_chosen_from(dtype: torch.dtype) -> None:
    # Half precision has a handful of bits, so many of these are equal.
    logits = torch.randn(4, 300, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    uniform = np.linspace(0, 0.999, 4)
    for sampling in (GREEDY, Sampling(0.8, 40), Sampling(1.5, None, 0.9), Sampling(1.0, 100, 0.5), Sampling()):
        expected = choose(logits.detach().double().numpy(), sampling, uniform)
        assert choose(logits, sampling, uniform).tolist() == expected.tolist()


def test_the_way_to_choose_is_checked_once_by_the_rules_of_the_section() -> None:
    config = SampleConfig(prompts=[""], max_new_tokens=1, temperature=0.5, top_k=3, top_p=0.9, device="cpu")
    assert Sampling.of(config) == Sampling(temperature=0.5, top_k=3, top_p=0.9)
    with pytest.raises(ValueError, match=r"^sample\.top_k: must be greater than or equal to 1, got 0$"):
        Sampling(top_k=0)
    with pytest.raises(ValueError, match=r"^sample\.temperature: must be a finite number, got nan$"):
        Sampling(temperature=math.nan)


@each_kind
def test_a_model_that_has_diverged_still_gives_ids_of_the_vocabulary(kind: str) -> None:
    broken = np.array(
        [
            [math.nan] * 5,
            [1.0, math.nan, 2.0, 0.0, 0.0],
            [0.0, math.inf, 0.0, 0.0, 0.0],
            [-math.inf] * 5,
            [0.0, math.inf, -math.inf, 0.0, 0.0],
        ]
    )
    for sampling in (
        GREEDY,
        Sampling(),
        Sampling(1.0, 2),
        Sampling(1.0, None, 0.5),
        Sampling(min_p=0.1, typical_p=0.5),
    ):
        ids = CHOOSE[kind](broken, sampling, np.full(5, 0.7))
        assert ((ids >= 0) & (ids < 5)).all()
        assert ids[2] == ids[4] == 1


@given(logits, st.integers(1, 14))
def test_top_k_keeps_k_tokens(logits: NDArray[np.float64], top_k: int) -> None:
    result = distribution(logits, 1.0, top_k, None)
    assert ((result > 0).sum(-1) == min(top_k, logits.shape[1])).all()


@given(logits, st.floats(0.01, 1.0))
def test_the_nucleus_is_the_smallest_set_that_reaches_p(logits: NDArray[np.float64], top_p: float) -> None:
    full, kept = distribution(logits, 1.0, None, None), distribution(logits, 1.0, None, top_p) > 0
    for probabilities, nucleus in zip(full, kept, strict=True):
        # A dozen float64 additions of numbers below 1 err by less than 12 * 1.1e-16.
        assert probabilities[nucleus].sum() >= top_p - 1e-14
        assert probabilities[nucleus].sum() - probabilities[nucleus].min() < top_p + 1e-14
        assert not (~nucleus).any() or probabilities[nucleus].min() >= probabilities[~nucleus].max()


@pytest.mark.parametrize("size", [1, 40, 4096, 4097, 20_000])
@pytest.mark.parametrize("spread", [0, 1, 8])
def test_the_cutoff_in_a_large_vocabulary_is_that_of_a_sorted_one(size: int, spread: float) -> None:
    generator = np.random.Generator(np.random.Philox(key=size))
    # Whole numbers, so that no sum is rounded. With a large spread a few hold nearly all of the weight.
    weights = np.exp2(generator.normal(10, spread, size).clip(0, 30)).round()
    keys = {"weights": weights, "others": generator.permutation(size).astype(np.float64)}
    for name, key in keys.items():
        order = np.argsort(-key)
        reached = weights[order].cumsum()
        for p in (1e-6, 0.1, 0.5, 0.95, 0.9999, 1.0):
            wanted = np.ceil(p * weights.sum())
            expected = key[order[reached.searchsorted(wanted)]]
            found = [take(key, weights, wanted, weights.sum())]
            if name == "weights":
                found.append(take_heaviest(weights, wanted, weights.sum()))
            for kept, last in found:
                assert last == expected, (name, p)
                assert np.array_equal(kept, np.where(key >= expected, weights, 0)), (name, p)


def test_a_row_of_float32_is_filtered_as_one_of_float64() -> None:
    logits = np.random.Generator(np.random.Philox(key=1)).normal(0, 3, (2, 5000)).astype(np.float32)
    for sampling in (Sampling(top_p=0.9), Sampling(min_p=0.01), Sampling(typical_p=0.9), Sampling(top_k=50, top_p=0.9)):
        expected = kept_weights(torch.from_numpy(logits), sampling).numpy()
        result = all_weights(logits, sampling)
        # float32 rounds each weight by 6e-8, and the exponent before it by as much times its size, at most 30.
        np.testing.assert_allclose(result, expected, rtol=4e-6, atol=0)
        uniform = np.array([0.3, 0.9])
        theirs = choose_on_device(torch.from_numpy(logits), sampling, uniform)
        assert choose(logits, sampling, uniform).tolist() == theirs.tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="recorded kernels need a GPU")
@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0), Sampling(temperature=0.8), Sampling(top_p=0.9), Sampling(top_k=50, min_p=0.01)],
)
def test_a_gpu_chooses_the_same_when_it_replays(sampling: Sampling) -> None:
    generator = np.random.Generator(np.random.Philox(key=1))
    for n in (3, 4, 3, 5):  # 3 and 4 share a record
        logits, uniform = generator.normal(0, 3, (n, 5000)).astype(np.float32), generator.random(n)
        chosen = choose_on_device(torch.from_numpy(logits).cuda(), sampling, uniform)
        assert chosen.tolist() == choose(logits, sampling, uniform).tolist()


def test_where_rounding_puts_p_out_of_reach_the_nucleus_has_next_to_all() -> None:
    """The sum of all weights in float32 may be above their exact sum. Then no number of tokens reaches p."""
    generator = np.random.Generator(np.random.Philox(key=2))
    for size in (300, 20_000):
        logits = generator.normal(0, 3, (20, size)).astype(np.float32)
        logits[:, ::7] = -1e4  # weights of 0, which are equal
        for row in logits:
            _, whole = candidates(row, Sampling())
            _, kept = candidates(row, Sampling(top_p=1 - 1e-12))
            assert (whole - kept).sum() <= 1e-6 * whole.sum()  # float32 rounds by 6e-8


@each_kind
def test_among_equals_the_lower_id_stays(kind: str) -> None:
    assert distribution(np.zeros((1, 4)), 1.0, 2, None, kind).tolist() == [[0.5, 0.5, 0, 0]]
    assert distribution(np.zeros((1, 4)), 1.0, None, 0.5, kind).tolist() == [[0.5, 0.5, 0, 0]]
    # So near to each other that their weights are equal at this temperature, yet the larger logit goes first.
    assert distribution(np.array([[0.0, 1.0]]), 1e30, None, 0.5, kind).tolist() == [[0, 1]]


def test_top_p_counts_within_the_top_k() -> None:
    # Of 0.4, 0.3, 0.2, 0.1 the first two are 4/7 and 3/7: the first alone reaches a half, though 0.4 does not.
    logits = np.log([[0.1, 0.4, 0.2, 0.3]])
    assert distribution(logits, 1.0, 2, 0.5).tolist() == [[0, 1, 0, 0]]


def test_logits_of_any_size_are_fine() -> None:
    for scale in (1e-300, 1e4, 1e300):
        result = distribution(np.array([[-1.0, 0.0, 1.0]]) * scale, 1.0, None, None)
        # Finite arithmetic on one to three numbers.
        assert result.sum() == pytest.approx(1, abs=1e-15)
        assert result[0, 2] == result.max()


def probabilities_and_uniform() -> st.SearchStrategy[tuple[Any, float]]:
    weights = st.lists(st.sampled_from([0.0, 0.0, 1e-30, 0.1, 1.0, 3.0]), min_size=1, max_size=12).filter(any)
    uniform = st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 5e-324, 0.5, 1 - 2**-53])
    return st.tuples(weights, uniform)


@pytest.mark.parametrize("block", [1, 2, 256])  # with small ones, blocks of weights are drawn first
@given(probabilities_and_uniform())
def test_a_draw_inverts_the_cumulative_distribution_and_never_takes_what_has_no_probability(
    block: int, case: tuple[list[float], float]
) -> None:
    weights, uniform = case
    probabilities = np.array(weights) / sum(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm.generation.sampling._BLOCK", block)
        id = draw(probabilities, uniform)
    assert probabilities[id] > 0
    # As many additions as there are ids, each rounded by 1.1e-16 at most.
    assert probabilities[:id].sum() <= uniform + 2e-15
    assert probabilities[: id + 1].sum() >= uniform - 2e-15


def test_each_row_is_drawn_with_a_number_of_its_own() -> None:
    logits = np.log([[0.25, 0.25, 0.5]] * 4)
    assert choose(logits, Sampling(), np.array([0.0, 0.25, 0.4999, 0.5])).tolist() == [0, 1, 1, 2]


def test_draws_come_as_often_as_their_probability_says() -> None:
    probabilities = np.array([0.5, 0.0, 0.3, 0.15, 0.05])
    n = 4_000
    uniform = np.random.Generator(np.random.Philox(key=0)).random(n)
    logits = np.log(np.maximum(probabilities, 1e-300))
    counts = np.bincount(choose(np.tile(logits, (n, 1)), Sampling(), uniform), minlength=5)
    # Four standard deviations of a binomial count.
    assert (np.abs(counts - n * probabilities) <= 4 * np.sqrt(n * probabilities * (1 - probabilities))).all()
