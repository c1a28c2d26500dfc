"""Tests of lm/training/compile_check.py, with a compiler that is quick and right; errors are put in on purpose."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.optim import muon, optimizers
from lm.optim.muon import Muon
from lm.optim.optimizers import AdamW
from lm.training.compile_check import compiled_fault, update_fault

VOCAB_SIZE = 11
SHAPE = (6, 5)


class Toy(nn.Module):
    """A bigram model and its loss. Where it is compiled, the gradient of each parameter is multiplied by a factor."""

    def __init__(self, dropout: float = 0.0, **factors: float) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table, self.out = nn.Embedding(VOCAB_SIZE, 4), nn.Linear(4, VOCAB_SIZE)
        self.dropout, self.factors = dropout, factors

    def forward(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        table, out, shift = self.table.weight, self.out.weight, 0.0
        if torch.compiler.is_compiling():
            table, out = scaled(table, self.factors.get("table", 1.0)), scaled(out, self.factors.get("out", 1.0))
            shift = self.factors.get("shift", 0.0)
        hidden = F.dropout(F.embedding(inputs, table), self.dropout, self.training)
        losses = F.cross_entropy(
            F.linear(hidden, out, self.out.bias).flatten(0, 1), targets.flatten(), reduction="none"
        )
        return (losses * weights.flatten()).sum() + shift, losses.sum()


def scaled(x: Tensor, factor: float) -> Tensor:
    """x, with a gradient that is multiplied."""
    return x.detach() * (1 - factor) + x * factor


def fault(dropout: float = 0.0, precision: str = "fp32", **factors: float) -> str | None:
    torch._dynamo.reset()
    toy = Toy(dropout, **factors)
    toy.compile(backend="eager", dynamic=False)
    found = compiled_fault(toy, SHAPE, VOCAB_SIZE, precision)
    assert all(p.grad is None for p in toy.parameters())
    return found


def test_right_code_has_no_fault() -> None:
    assert fault() is None
    assert fault(precision="bf16", table=1.01) is None  # as much as rounding explains
    assert fault(dropout=0.2) is None


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"out": 0.0}, "the gradient of out.weight differs by 1 of its size"),
        ({"table": 1.01}, "the gradient of table.weight differs by 0.01 of its size"),
        ({"out": -1.0}, "the gradient of out.weight differs by 2 of its size"),
        ({"shift": 5.0}, "its loss is "),
        ({"shift": float("nan")}, "its loss is nan where the plain step has "),
        ({"dropout": 0.2, "out": 0.0}, "the gradient of out.weight differs by 1 of its size"),
    ],
)
def test_wrong_code_is_found(factors: dict[str, Any], words: str) -> None:
    assert (fault(**factors) or "").startswith(words)


# In a process of its own: the compiler traces with tensors that the run-time check of shapes does not know.
def test_code_that_does_not_compile_has_a_fault_and_too_little_memory_is_none() -> None:
    def fault_by(error: Exception) -> str | None:
        def backend(*_arguments: object) -> None:
            raise error

        toy = Toy()
        toy.compile(backend=backend)
        return compiled_fault(toy, SHAPE, VOCAB_SIZE, "fp32")

    assert fault_by(RuntimeError("no such kernel\nhere")) == "it cannot be compiled: no such kernel"
    with pytest.raises(MemoryError):
        fault_by(RuntimeError("CUDA out of memory"))


SCRIPT = """
import functools, sys
import numpy as np, torch
from torch._dynamo.testing import CompileCounter
from torch.nn.attention import flex_attention
from lm.model import attend as attend_module
from lm.model.attend import attend
from lm.model.flex import flex_attend, visible_blocks
from lm.model.transformer import Block
from lm.training import loss
from lm.training.batch import Batch
from lm.training.build import build_backend
from tests.small import model_config, train_config

def gradients(function, inputs):
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    return torch.autograd.grad(function(*inputs).square().sum(), inputs)

torch.manual_seed(0)
targets, weights = torch.randint(6, (9,)), torch.rand(9)
attend_module._QUERIES = 3  # so that five queries are more than one group
flex_attention._validate_device = lambda *_: None  # on a CPU it has no backward pass for compiled kernels
distance = torch.arange(9)[:, None] - torch.arange(9)
slopes, blocks = torch.tensor([0.5, 0.1]), visible_blocks(9, 4, torch.device("cpu"))
bias = -slopes[:, None, None] * distance

def windowed(q, k, v):
    if torch.compiler.is_compiling():
        return flex_attend(q, k, v, blocks, slopes)
    return attend(q, k, v, bias.masked_fill((distance < 0) | (distance >= 4), -torch.inf), 0.0, "fused")

functions = {
    "loss": (lambda h, w: loss.linear_cross_entropy(h, w, targets, weights, None, 96)[0], [(9, 4), (6, 4)]),
    "attention": (lambda q, k, v: attend(q, k, v, None, 0.0, "math"), [(2, 3, 5, 4)] * 3),
    "flex": (windowed, [(1, 2, 9, 16)] * 3),
}
for name, (function, shapes) in functions.items():
    inputs = [torch.randn(shape) for shape in shapes]
    for compiler in ("eager", "aot_eager"):
        compiled = torch.compile(function, backend=compiler, dynamic=False)
        for mine, plain in zip(gradients(compiled, inputs), gradients(function, inputs), strict=True):
            torch.testing.assert_close(mine, plain)
        print(name, compiler)

counter = CompileCounter()  # compiles nothing, but counts
torch.compile = functools.partial(torch.compile, backend=counter)
forward = Block.forward

def wrong(block, x, *arguments, **named):
    y = forward(block, x, *arguments, **named)
    return y.detach() + 0 * x if torch.compiler.is_compiling() else y

def backend(compiled):
    return build_backend(train_config(batch_size=2, compile=compiled), model_config(), 11, 0)

batch = Batch.of_windows(np.random.Generator(np.random.Philox(1)).integers(0, 11, (2, 9)))
plain, compiled = backend(False), backend(True)
assert compiled.compute_report.facts["compile"]
assert len(compiled.model.blocks) > 1
for engine in (plain, compiled):
    engine.gradient([batch], (0, 0))
    engine.measure(batch)
assert counter.frame_count == 1, "one block is compiled for all, and for training only"
for mine, theirs in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
    torch.testing.assert_close(mine.grad, theirs.grad)
torch._dynamo.reset()  # it does not notice that a method is another one
Block.forward = wrong
plain, guarded = backend(False), backend(True)
assert not guarded.compute_report.facts["compile"]
print(*(word for word in guarded.compute_report.words if "wrong" in word))
assert guarded.gradient([batch], (0, 0)) == plain.gradient([batch], (0, 0))
"""


def test_compiled_functions_have_the_plain_gradients_and_a_run_whose_compiled_step_is_wrong_takes_the_plain_one() -> (
    None
):
    # Under torch 2.11, sums in place on the compiled loss left a gradient of exactly zero, and nothing said so.
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *functions, words = done.stdout.splitlines()
    assert functions == [f"{name} {by}" for name in ("loss", "attention", "flex") for by in ("eager", "aot_eager")]
    assert words.startswith("not compiled (a compiled step is wrong here: the gradient of ")


def tried_update(kind: str, patch: pytest.MonkeyPatch, factor: float = 1.0) -> tuple[str | None, bool, bool]:
    """The fault of a compiled update that multiplies a tensor too; whether all stayed; whether it is compiled now."""
    torch.manual_seed(0)
    params = [nn.Parameter(torch.randn(6, 4)) for _ in range(3)]
    for p in params:
        p.grad = torch.randn(6, 4)
    group = [{"params": params, "weight_decay": 0.1, "orthogonal": kind == "muon"}]
    made: Any = Muon(group, 0.01, 0.9, (0.9, 0.95), 1e-8) if kind == "muon" else AdamW(group, 0.01, (0.9, 0.95), 1e-8)
    optimizer: AdamW = made
    compiled = []

    def compile_(function: Callable[..., None]) -> Callable[..., None]:
        def changed(params: list[Tensor], *arguments: Any) -> None:
            function(params, *arguments)
            params[0].mul_(factor)

        compiled.append(changed)
        return changed

    patch.setattr(optimizers, "compiled_once", compile_)
    patch.setattr(muon, "compiled_once", compile_)
    paces = [[torch.tensor(number) for number in pace] for pace in optimizer.pace()]
    moments = [slot for slots in optimizer.state.values() for slot in slots.values() if isinstance(slot, Tensor)]
    tensors = [*(p.detach() for p in params), *moments]
    before = [tensor.clone() for tensor in tensors]
    fault = update_fault(optimizer, paces, tensors)
    function = optimizer._turn if isinstance(optimizer, Muon) else optimizer._move
    return fault, all(map(torch.equal, before, tensors)), function in compiled


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_compiled_update_must_do_what_the_plain_one_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried_update(kind, monkeypatch) == (None, True, True)
    for factor in (1.01, float("nan")):
        fault, same, compiled = tried_update(kind, monkeypatch, factor)
        assert fault is not None
        assert fault.startswith("of a tensor of shape (6, 4) it differs by ")
        assert same
        assert not compiled
