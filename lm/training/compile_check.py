"""A compiled step must compute what the plain step computes. Compilers have errors, and a wrong gradient says nothing.

With torch 2.11 the gradient of a compiled loss was exactly zero once, without an error or a warning.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lm.optim.optimizers import PacedOptimizer
from lm.system.devices import memory_errors

# The largest difference of the gradients that rounding explains, relative to the gradient.
_TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 5e-2}
# With dropout the two steps drop different activations. Then only the sizes of loss and gradient are compared.
_WITH_DROPOUT = 0.5
# A parameter whose gradient is a smaller part of the whole than this is judged by the whole.
_SMALL = 1e-2
# Muon's products in bfloat16 round differently where operations are fused.
_UPDATE_TOLERANCE = 5e-2
_EPS = torch.finfo(torch.float32).eps
# The plain step keeps more activations, so it takes its rows in so many portions.
_N_PORTIONS = 4


def compiled_fault(objective: nn.Module, shape: tuple[int, int], vocab_size: int, precision: str) -> str | None:
    """What is wrong with a compiled objective, tried on random ids of `shape` (rows, positions); None if nothing is.

    The objective takes inputs, targets and weights, and returns a weighted sum of losses first. It is called as
    training calls it. Its gradients are cleared afterwards.
    """
    parameters = dict(objective.named_parameters())
    device = next(iter(parameters.values())).device
    generator = np.random.Generator(np.random.Philox(0))
    inputs, targets = (torch.from_numpy(generator.integers(0, vocab_size, shape)).to(device) for _ in range(2))
    batch = inputs, targets, torch.ones(shape, device=device)

    def gradient(n_rows: int) -> tuple[float, dict[str, Tensor]]:
        objective.zero_grad()
        total = 0.0
        for first in range(0, shape[0], n_rows):
            loss = objective(*(tensor[first : first + n_rows] for tensor in batch))[0] / shape[0]
            loss.backward()
            total += float(loss.detach())
        return total, {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}

    objective.train()
    try:
        with memory_errors():  # what has too little memory is not wrong
            loss, actual = gradient(shape[0])
    except RuntimeError as error:  # all errors of the compiler are of this kind
        objective.zero_grad()
        return f"it cannot be compiled: {str(getattr(error, 'inner_exception', error)).strip().splitlines()[0]}"
    with torch.compiler.set_stance("force_eager"):
        expected_loss, expected = gradient(max(1, shape[0] // _N_PORTIONS))
    objective.zero_grad()
    dropout = any(getattr(module, "dropout", 0.0) for module in objective.modules())
    tolerance = _WITH_DROPOUT if dropout else _TOLERANCE[precision]
    return _difference(loss, expected_loss, actual, expected, tolerance, dropout)


def update_fault(optimizer: PacedOptimizer, paces: Sequence[Sequence[Tensor]], changed: list[Tensor]) -> str | None:
    """What is wrong with the compiled update of an optimizer; None if nothing is, and then the optimizer is compiled.

    It is tried on the gradients at hand, with the numbers of the next step. `changed` are the tensors that an update
    changes. They are as before afterwards.
    """
    before = [tensor.clone() for tensor in changed]
    try:
        optimizer.compile()
        optimizer.apply(paces)
        results = [tensor.clone() for tensor in changed]
        copy_all(before, changed)
        optimizer.compile(False)
        optimizer.apply(paces)
        for start, mine, plain in zip(before, results, changed, strict=True):
            error, size = float((mine - plain).norm()), float((plain - start).norm())
            if not error <= _UPDATE_TOLERANCE * size + _EPS * float(plain.norm()):
                part = error / max(size, 1e-30)
                return f"of a tensor of shape {tuple(plain.shape)} it differs by {part:.2g} of its size"
    finally:
        copy_all(before, changed)
    optimizer.compile()
    return None


def copy_all(sources: list[Tensor], targets: list[Tensor]) -> None:
    """Copy each tensor into its target."""
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _difference(
    loss: float,
    expected_loss: float,
    actual: dict[str, Tensor],
    expected: dict[str, Tensor],
    tolerance: float,
    sizes_only: bool,
) -> str | None:
    if not abs(loss - expected_loss) <= tolerance * abs(expected_loss):
        return f"its loss is {loss:.6g} where the plain step has {expected_loss:.6g}"
    whole = float(torch.stack(torch._foreach_norm(list(expected.values()))).norm())
    for name, gradient in expected.items():
        mine = actual.get(name, torch.zeros_like(gradient))
        error = mine.norm() - gradient.norm() if sizes_only else (mine - gradient).norm()
        scale = max(float(gradient.norm()), _SMALL * whole)
        if not abs(float(error)) <= tolerance * scale:
            return f"the gradient of {name} differs by {abs(float(error)) / scale:.2g} of its size"
    return None
