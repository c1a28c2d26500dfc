"""The training loss against PyTorch's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.training.loss import cross_entropy

EPS = torch.finfo(torch.float32).eps


def random_problem(shape: tuple[int, ...], vocab: int, size: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, targets and a gradient of the losses."""
    generator = torch.Generator().manual_seed(seed)
    logits = size * torch.randn(*shape, vocab, generator=generator)
    return logits, torch.randint(vocab, shape, generator=generator), torch.randn(shape, generator=generator)


def pytorch_s(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)


def loss_and_gradient(function: object, logits: Tensor, targets: Tensor, grad_loss: Tensor) -> tuple[Tensor, Tensor]:
    assert callable(function)
    leaf = logits.clone().requires_grad_()
    loss = function(leaf, targets)
    (gradient,) = torch.autograd.grad(loss, leaf, grad_loss.to(loss.dtype))
    return loss.detach(), gradient


shapes = st.sampled_from([(1,), (7,), (2, 3), (2, 3, 2)])


@settings(max_examples=80)
@given(shapes, st.integers(1, 70), st.sampled_from([0.0, 1.0, 30.0, 1e4]), st.integers(0, 2**32 - 1))
def test_value_and_gradient_equal_pytorch_s(shape: tuple[int, ...], vocab: int, size: float, seed: int) -> None:
    logits, targets, grad_loss = random_problem(shape, vocab, size, seed)
    loss, gradient = loss_and_gradient(cross_entropy, logits, targets, grad_loss)
    expected, expected_gradient = loss_and_gradient(pytorch_s, logits.double(), targets, grad_loss)
    assert loss.shape == shape
    assert loss.dtype == torch.float32
    # log sum exp is as large as the logits and rounds once or twice by eps of that. Its error enters the loss as it
    # is, and the softmax as a factor; softmax is at most 1.
    error = 2 * EPS * max(4.0, float(logits.abs().max()))
    torch.testing.assert_close(loss.double(), expected, rtol=2 * EPS, atol=error)
    largest = float(grad_loss.abs().max())
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=2 * EPS, atol=error * largest)


@settings(max_examples=40)
@given(shapes, st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_half_precision_logits_lose_nothing_but_the_rounding_of_the_gradient(
    shape: tuple[int, ...], vocab: int, seed: int
) -> None:
    logits, targets, grad_loss = random_problem(shape, vocab, 3.0, seed)
    logits = logits.bfloat16()
    loss, gradient = loss_and_gradient(cross_entropy, logits, targets, grad_loss)
    expected, expected_gradient = loss_and_gradient(cross_entropy, logits.float(), targets, grad_loss)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert gradient.dtype == torch.bfloat16
    assert torch.equal(gradient, expected_gradient.bfloat16())


@pytest.mark.parametrize("shift", [-1e4, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_huge_logits_give_finite_losses_and_gradients(shift: float, dtype: torch.dtype) -> None:
    logits = torch.zeros(2, 5).index_fill(1, torch.tensor([3]), shift).to(dtype)
    huge = abs(float(logits[0, 3]))  # 1e4 is 9984 in bf16
    loss, gradient = loss_and_gradient(cross_entropy, logits, torch.tensor([3, 0]), torch.ones(2))
    right, wrong = (0.0, huge) if shift > 0 else (huge + math.log(4), math.log(4))
    # float32 numbers of size 1e4 lie 1e-3 apart.
    assert loss.tolist() == pytest.approx([right, wrong], abs=1e-3)
    expected = [[0, 0, 0, 1.0, 0]] * 2 if shift > 0 else [[0.25, 0.25, 0.25, 0, 0.25]] * 2
    expected_gradient = torch.tensor(expected)
    expected_gradient[0, 3] -= 1
    expected_gradient[1, 0] -= 1
    torch.testing.assert_close(gradient.float(), expected_gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_equal_logits_cost_the_logarithm_of_the_vocabulary_wherever_they_lie(shift: float) -> None:
    loss = cross_entropy(torch.full((3, 100), shift), torch.tensor([0, 50, 99]))
    assert loss.tolist() == pytest.approx([math.log(100)] * 3, abs=1e-3)  # as above


def test_a_sequence_of_sequences_has_a_loss_for_every_token() -> None:
    logits, targets, _ = random_problem((2, 3), 11, 1.0, seed=0)
    flat = cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert flat.shape == (6,)
    assert torch.equal(cross_entropy(logits, targets), flat.view(2, 3))


def test_the_gradient_agrees_with_finite_differences() -> None:
    logits, targets, grad_loss = random_problem((2, 3), 5, 1.0, seed=0)
    _, gradient = loss_and_gradient(cross_entropy, logits, targets, grad_loss)
    step = 2**-6
    differences = torch.zeros_like(logits)
    for i in range(logits.numel()):
        moved = torch.zeros(logits.numel())
        moved[i] = step
        up, down = (cross_entropy(logits + sign * moved.view_as(logits), targets) for sign in (1, -1))
        differences.view(-1)[i] = (grad_loss * (up - down)).sum() / (2 * step)
    # Losses of size 3 round to 2e-7, which the step magnifies by 32; the third derivative times step^2 / 6 is 1e-5.
    torch.testing.assert_close(gradient, differences, rtol=0, atol=5e-5)
