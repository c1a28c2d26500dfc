"""The training loss against PyTorch's."""

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.training import loss as module
from lm.training.loss import cross_entropy, linear_cross_entropy
from tests.tensor_sizes import Watch

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


class Head(NamedTuple):
    """A last residual stream, the matrix of a head, targets, and what each counts."""

    hidden: Tensor
    weight: Tensor
    targets: Tensor
    weights: Tensor


def random_head(n: int, vocab: int, d_model: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Head:
    """Hidden states of size 1 and weights for logits of size 3."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, d_model, generator=generator, dtype=torch.float64)
    weight = 3 / math.sqrt(d_model) * torch.randn(vocab, d_model, generator=generator, dtype=torch.float64)
    targets = torch.randint(vocab, (n,), generator=generator)
    return Head(hidden.to(dtype), weight.to(dtype), targets, torch.ones(n))


def random_weights(n: int, seed: int) -> Tensor:
    """Weights of which some are 0, some 1, and some between."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.zeros(n), torch.ones(n), torch.rand(n, generator=generator)])[
        torch.randint(3, (n,), generator=generator), torch.arange(n)
    ]


class Outcome(NamedTuple):
    """Loss, accuracy, and the gradients of a multiple of the loss."""

    loss: Tensor
    accuracy: Tensor
    grad_hidden: Tensor
    grad_weight: Tensor


CHUNK = {"bytes": 2**25}


def ours(head: Head, dtype: torch.dtype | None = None, factor: float = 1.0) -> Outcome:
    hidden, weight = head.hidden.clone().requires_grad_(), head.weight.clone().requires_grad_()
    sums = linear_cross_entropy(hidden, weight, head.targets, head.weights, dtype, CHUNK["bytes"])
    loss, accuracy = (value / float(head.weights.double().sum()) for value in sums)
    return Outcome(loss.detach(), accuracy, *torch.autograd.grad(factor * loss, [hidden, weight]))


def exact(head: Head, factor: float = 1.0) -> Outcome:
    """PyTorch's, in float64."""
    hidden, weight = head.hidden.double().requires_grad_(), head.weight.double().requires_grad_()
    logits = hidden @ weight.T
    losses = F.cross_entropy(logits.flatten(0, -2), head.targets.flatten(), reduction="none")
    share = head.weights.flatten().double() / head.weights.double().sum()
    loss = (losses * share).sum()
    accuracy = ((logits.argmax(-1) == head.targets).flatten() * share).sum()
    return Outcome(loss.detach(), accuracy, *torch.autograd.grad(factor * loss, [hidden, weight]))


def assert_close(actual: Outcome, expected: Outcome, loss: float, gradient: float) -> None:
    """Within an absolute error of the loss, and one of the gradients relative to their largest number."""
    torch.testing.assert_close(actual.loss.double(), expected.loss, rtol=0, atol=loss)
    for mine, theirs in ((actual.grad_hidden, expected.grad_hidden), (actual.grad_weight, expected.grad_weight)):
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=gradient * float(theirs.abs().max()))


def set_chunks(patch: pytest.MonkeyPatch, n_rows: int, vocab: int) -> None:
    """Let a chunk hold so many rows of logits."""
    patch.setitem(CHUNK, "bytes", 4 * vocab * n_rows)


@settings(max_examples=60)
@given(
    st.integers(1, 30),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 31),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([0, 3]),
)
def test_loss_of_a_head_equals_pytorch_s_in_chunks_of_any_size(
    n: int, vocab: int, d_model: int, chunk: int, seed: int, weighted: bool, surplus: int
) -> None:
    head = random_head(n, vocab, d_model, seed, torch.float64)
    if weighted and (weights := random_weights(n, seed)).any():
        head = head._replace(weights=weights)
    with pytest.MonkeyPatch.context() as patch:
        set_chunks(patch, chunk, vocab)
        patch.setattr(module, "n_columns", lambda vocab_size, device: vocab_size + surplus)
        actual = ours(head, factor=-2.5)
    assert [tensor.dtype for tensor in actual if tensor is not actual.accuracy] == [torch.float64] * 3
    # Roundings of 1e-16, dozens of them.
    assert_close(actual, exact(head, factor=-2.5), loss=1e-13, gradient=1e-13)
    assert float(actual.accuracy) == pytest.approx(float(exact(head).accuracy), abs=1e-7)  # a share in float32


def test_the_gradient_of_a_head_agrees_with_finite_differences() -> None:
    head = random_head(7, 5, 3, dtype=torch.float64)

    def loss_of(hidden: Tensor, weight: Tensor) -> Tensor:
        return linear_cross_entropy(hidden, weight, head.targets, random_weights(7, 0))[0]

    assert torch.autograd.gradcheck(loss_of, (head.hidden.requires_grad_(), head.weight.requires_grad_()))


@pytest.mark.parametrize("n_rows", [1, 8, 13, 64, 100])
@pytest.mark.parametrize(
    ("dtype", "loss", "gradient"),
    [
        # Products of 16 numbers and sums of 64 or 50 round by some times 6e-8 of logits of size 10.
        (torch.float32, 2e-6, 2e-6),
        # Logits of up to 10 round by half of 2**-5, an error that the mean over 64 tokens mostly takes out; every
        # factor of the gradients by 2**-9, and each chunk's sum again.
        (torch.bfloat16, 1e-2, 2e-2),
        # The same with three more bits.
        (torch.float16, 2e-3, 3e-3),
    ],
)
def test_products_of_each_precision_round_as_that_does(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, loss: float, gradient: float, n_rows: int
) -> None:
    head = random_head(64, 50, 16)
    set_chunks(monkeypatch, n_rows, 50)
    actual = ours(head, dtype)
    assert [tensor.dtype for tensor in actual] == [torch.float32] * 4  # as hidden and weight are
    assert_close(actual, exact(head), loss, gradient)
    if dtype != torch.float32:
        assert float(actual.loss) != float(ours(head).loss)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_only_the_products_are_in_half_precision(dtype: torch.dtype) -> None:
    hidden, weight, targets, weights = random_head(64, 50, 16)
    logits = hidden.to(dtype) @ weight.to(dtype).T
    expected = F.cross_entropy(logits.double(), targets)
    loss, _ = linear_cross_entropy(hidden, weight, targets, weights, dtype)
    assert float(loss) / 64 == pytest.approx(float(expected), abs=2e-6)  # sums of 64 losses of 3 in float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_gradient_of_a_head_over_many_rows_does_not_overflow(dtype: torch.dtype) -> None:
    # Each row adds (1/2 - 1) * 8 to the row of the target: -128,000 in all, which float16 cannot hold.
    n = 32_000
    head = Head(torch.full((n, 1), 8.0), torch.zeros(2, 1), torch.zeros(n, dtype=torch.int64), torch.ones(n))
    assert ours(head, dtype, factor=n).grad_weight.tolist() == [[-128_000], [128_000]]


def test_hidden_states_in_half_precision_get_a_gradient_in_it() -> None:
    head = random_head(8, 5, 4)
    actual = ours(head._replace(hidden=head.hidden.bfloat16()), torch.bfloat16)
    assert (actual.loss.dtype, actual.grad_hidden.dtype, actual.grad_weight.dtype) == (
        torch.float32,
        torch.bfloat16,
        torch.float32,
    )


def test_autocast_around_it_changes_nothing() -> None:
    head = random_head(8, 5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ours(head)
    assert all(torch.equal(one, other) for one, other in zip(inside, ours(head), strict=True))


def test_right_are_the_targets_that_are_the_largest_logit(monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunks(monkeypatch, 3, 4)
    hidden = torch.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]]
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 3, 3])
    for right in (targets, targets.view(2, 4)):
        _, n_right = linear_cross_entropy(hidden.view(*right.shape, 4), torch.eye(4), right, torch.ones(right.shape))
        assert n_right.shape == ()
        assert float(n_right) == 4
        assert not n_right.requires_grad


def test_a_sequence_of_sequences_has_the_mean_of_all_its_tokens() -> None:
    head = random_head(6, 5, 4)
    nested = ours(Head(head.hidden.view(2, 3, 4), head.weight, head.targets.view(2, 3), head.weights.view(2, 3)))
    assert nested.grad_hidden.shape == (2, 3, 4)
    assert all(torch.equal(one.flatten(), other.flatten()) for one, other in zip(nested, ours(head), strict=True))


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_of_a_head_are_finite(size: float) -> None:
    # The first logit is huge; the first target is it, the second another.
    hidden, weight = torch.full((2, 1), size), torch.tensor([[1.0], [0.0], [0.0], [0.0], [0.0]])
    actual = ours(Head(hidden, weight, torch.tensor([0, 1]), torch.ones(2)))
    right, wrong = (0.0, size) if size > 0 else (-size + math.log(4), math.log(4))
    assert float(actual.loss) == pytest.approx(
        (right + wrong) / 2, abs=1e-3
    )  # as far apart as such float32 numbers lie
    # d loss / d hidden = softmax(z) - onehot, of the one logit that depends on it, over two tokens.
    expected = [[0.0], [0.5]] if size > 0 else [[-0.5], [0.0]]
    torch.testing.assert_close(actual.grad_hidden, torch.tensor(expected), rtol=0, atol=1e-6)
    assert actual.grad_weight.isfinite().all()


def test_a_loss_that_is_no_number_stays_none(monkeypatch: pytest.MonkeyPatch) -> None:
    head = random_head(8, 5, 4)
    head.hidden[3, 2] = math.nan
    set_chunks(monkeypatch, 2, 5)
    assert ours(head).loss.isnan()


def test_the_logits_never_exist_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    n, vocab, d_model = 60, 50, 4
    head = random_head(n, vocab, d_model)
    set_chunks(monkeypatch, 7, vocab)
    with Watch() as watch:
        ours(head)
    assert max(watch.sizes) == 7 * vocab  # more than hidden or weight have
    with Watch() as watch:
        exact(head)
    assert max(watch.sizes) == n * vocab


def test_logits_of_tokens_without_weight_are_not_computed() -> None:
    n, vocab = 60, 50
    head = random_head(n, vocab, d_model=4)
    weights = torch.zeros(n)
    weights[::4] = 1
    with Watch() as watch:
        ours(head._replace(weights=weights))
    assert max(watch.sizes) == n // 4 * vocab


def test_a_row_whose_logits_alone_are_beyond_a_chunk_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    head = random_head(3, 50, 4)
    monkeypatch.setitem(CHUNK, "bytes", 1)
    assert_close(ours(head), exact(head), loss=2e-6, gradient=2e-6)  # as above


def test_without_gradients_none_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    n, vocab, d_model = 6, 5, 64
    head = random_head(n, vocab, d_model)
    set_chunks(monkeypatch, 6, vocab)
    with torch.no_grad(), Watch() as watch:
        hidden, weight = head.hidden.requires_grad_(), head.weight.requires_grad_()
        loss, n_right = linear_cross_entropy(hidden, weight, head.targets, head.weights)
    assert not loss.requires_grad
    # But for views of hidden and weight themselves nothing of their size is made: no gradient of theirs.
    assert watch.sizes.count(vocab * d_model) <= 2
    with Watch() as gradient_too:
        ours(head)
    assert gradient_too.sizes.count(vocab * d_model) > watch.sizes.count(vocab * d_model)
    assert torch.equal(loss / n, ours(head).loss)
    assert torch.equal(n_right / n, ours(head).accuracy)


@pytest.mark.parametrize(("memory", "expected"), [(2**30, 2**28), (32 * 2**30, 2**30), (80 * 2**30, 2**31)])
def test_a_chunk_takes_a_small_part_of_the_memory(monkeypatch: pytest.MonkeyPatch, memory: int, expected: int) -> None:
    properties = type("Properties", (), {"total_memory": memory})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert module.chunk_bytes(torch.device("cuda")) == expected
    assert module.chunk_bytes(torch.device("cpu")) < 2**26  # it should fit into caches
