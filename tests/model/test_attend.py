"""The attention function by both of its kernels, against PyTorch's own in higher precision."""

from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.model.attend import Mask, _as_bias, _MathKernel, attend
from lm.model.positions import alibi_bias, alibi_slopes
from tests.model.configs import largest
from tests.tensor_sizes import Watch

HEADS = 3
Rule = Literal["causal", "window", "alibi"]

# (query, key): a whole text, its continuation in a chunk, and a single token.
LENGTHS = [(9, 9), (4, 9), (1, 9), (33, 70)]
RULES: list[Rule] = ["causal", "window", "alibi"]


def random_inputs(n_queries: int, n_keys: int, dtype: torch.dtype, d_head: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, ready to take gradients."""
    generator = torch.Generator().manual_seed(n_queries + 1000 * n_keys)
    q, k, v = (torch.randn(2, HEADS, n, d_head, generator=generator) for n in (n_queries, n_keys, n_keys))
    return q.to(dtype).requires_grad_(), k.to(dtype).requires_grad_(), v.to(dtype).requires_grad_()


def mask_of(rule: Rule, n_queries: int, n_keys: int) -> Mask | None:
    """The mask of a rule, for queries that stand at the end of the keys."""
    distance = torch.arange(n_keys - n_queries, n_keys)[:, None] - torch.arange(n_keys)
    match rule:
        case "causal" if n_queries in (1, n_keys):
            return None
        case "causal":
            return distance >= 0
        case "window":
            return (distance >= 0) & (distance < 4)
        case "alibi":
            return alibi_bias(alibi_slopes(HEADS), distance).masked_fill(distance < 0, float("-inf"))


def fused(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None) -> Tensor:
    """PyTorch's attention in the dtype of its inputs."""
    if mask is not None and mask.is_floating_point():
        mask = mask.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and q.shape[2] > 1)


def gradients(y: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The gradients of the inputs for a random gradient of the output."""
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y.dtype)
    return torch.autograd.grad(y, inputs, dy)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("n_queries", "n_keys"), LENGTHS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        # Sums of at most 70 terms of size 1, each rounded to 6e-8 and 1e-16, in another order.
        (torch.float32, 5e-6),
        (torch.float64, 1e-14),
    ],
)
def test_the_math_kernel_equals_the_fused_one_forward_and_backward(
    rule: Rule, n_queries: int, n_keys: int, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = q, k, v = random_inputs(n_queries, n_keys, dtype)
    mask = mask_of(rule, n_queries, n_keys)
    expected = fused(q, k, v, mask)
    actual: Tensor = _MathKernel.apply(q, k, v, _as_bias(mask, q, k), True)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)
    for ours, theirs in zip(gradients(actual, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("n_queries", "n_keys"), LENGTHS[:3])
def test_the_backward_pass_of_the_math_kernel_agrees_with_finite_differences(
    rule: Rule, n_queries: int, n_keys: int
) -> None:
    q, k, v = random_inputs(n_queries, n_keys, torch.float64, d_head=3)
    bias = _as_bias(mask_of(rule, n_queries, n_keys), q, k)
    assert torch.autograd.gradcheck(lambda *inputs: _MathKernel.apply(*inputs, True), (q, k, v, bias))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("n_queries", "n_keys"), LENGTHS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_the_fused_kernel_in_float32(
    rule: Rule, n_queries: int, n_keys: int, dtype: torch.dtype
) -> None:
    inputs = q, k, v = random_inputs(n_queries, n_keys, dtype)
    exact = tuple(x.detach().float().requires_grad_() for x in inputs)
    exact_q, exact_k, exact_v = exact
    mask = mask_of(rule, n_queries, n_keys)
    actual, expected = attend(q, k, v, mask, dropout=0.0), fused(exact_q, exact_k, exact_v, mask)
    assert actual.dtype == dtype
    # A score of up to 4 is off by 4 * eps / 2, so its probability by 2 eps; probability, product and result round once
    # more each. The gradients pass through one product more.
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(actual.float(), expected, rtol=0, atol=2 * eps * largest(expected))
    theirs = gradients(expected, exact)
    for ours, exact_gradient in zip(gradients(actual, inputs), theirs, strict=True):
        torch.testing.assert_close(ours.float(), exact_gradient, rtol=0, atol=4 * eps * largest(exact_gradient))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [1024, 1025])
def test_both_sides_of_the_length_where_attend_changes_its_kernel_agree_with_float32(rule: Rule, n: int) -> None:
    q, k, v = random_inputs(n, n, torch.bfloat16)
    mask = mask_of(rule, n, n)
    actual, expected = attend(q, k, v, mask, dropout=0.0), fused(q.float(), k.float(), v.float(), mask)
    torch.testing.assert_close(actual.float(), expected, rtol=0, atol=2 * 2**-7 * largest(expected))  # as above


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [128, 129, 300])
def test_queries_that_are_computed_together_change_nothing(rule: Rule, n: int) -> None:
    inputs = q, k, v = random_inputs(n, n, torch.float64)
    bias = _as_bias(mask_of(rule, n, n), q, k)
    some, all_together = (_MathKernel.apply(q, k, v, bias, causal) for causal in (True, False))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(some, all_together, rtol=0, atol=1e-14)
    for ours, theirs in zip(gradients(some, inputs), gradients(all_together, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


def test_scores_of_keys_after_a_group_of_queries_are_not_computed() -> None:
    q, k, v = random_inputs(300, 300, torch.float32)
    with Watch() as watch:
        gradients(attend(q, k, v, None, 0.0, "math"), (q, k, v))
    assert max(watch.sizes) == 2 * HEADS * 128 * 256 > 2 * HEADS * 44 * 300


@pytest.mark.parametrize(
    ("dtype", "n_keys", "dropout", "math"),
    [
        (torch.bfloat16, 1024, 0.0, True),
        (torch.float16, 2, 0.0, True),
        (torch.bfloat16, 1025, 0.0, False),
        (torch.bfloat16, 1, 0.0, False),
        (torch.bfloat16, 9, 0.1, False),
        (torch.float32, 9, 0.0, False),
    ],
)
def test_the_math_kernel_is_taken_in_half_precision_and_short_contexts_only(
    dtype: torch.dtype, n_keys: int, dropout: float, math: bool
) -> None:
    y = attend(*random_inputs(n_keys, n_keys, dtype), mask=None, dropout=dropout)
    assert y.grad_fn is not None
    assert ("MathKernel" in y.grad_fn.name()) == math


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_single_query_without_a_mask_sees_all_keys(dtype: torch.dtype) -> None:
    q, k, v = random_inputs(1, 9, dtype)
    everything = torch.ones(1, 9, dtype=torch.bool)
    assert torch.equal(attend(q, k, v, None, dropout=0.0), attend(q, k, v, everything, dropout=0.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_chunk_of_queries_after_earlier_keys_must_bring_its_mask(dtype: torch.dtype) -> None:
    # The two kernels read "causal" differently there: from the first key, or towards the last.
    with pytest.raises(AssertionError, match="need a mask"):
        attend(*random_inputs(4, 9, dtype), mask=None, dropout=0.0)


def test_dropout_drops_probabilities_and_keeps_their_mean() -> None:
    q, k, _ = random_inputs(1, 9, torch.float32)
    ones = torch.ones(2, HEADS, 9, 8)
    torch.manual_seed(0)
    draws = torch.stack([attend(q, k, ones, None, dropout=0.5)[..., 0] for _ in range(400)])
    assert draws.std() > 0.1
    # Each draw is a sum of probabilities, half of them doubled: its deviation is at most 1, that of 2400 means 0.02.
    assert abs(float(draws.mean().detach()) - 1) < 0.1
