"""What the tests of lm/reference share: comparison with PyTorch's autograd, and with finite differences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.reference.parameter import Parameter

Array = NDArray[np.floating[Any]]

# Both sides round in float64, by 1e-16 an operation. The aim of the project is 1e-10.
TOLERANCE = 1e-10


def random_array(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    """Standard normal numbers."""
    return np.random.Generator(np.random.Philox(key=seed)).standard_normal(shape)


def assert_close(actual: Array, expected: Any, what: str = "", floor: float = 0.0) -> None:
    """The largest difference is at most the tolerance times the largest number expected, or `floor` if that is more."""
    expected = np.asarray(expected.detach() if isinstance(expected, Tensor) else expected)
    assert actual.shape == expected.shape, what
    assert actual.dtype == expected.dtype, what
    scale = max(float(np.abs(expected).max(initial=0)), floor)
    assert float(np.abs(actual - expected).max(initial=0)) <= TOLERANCE * scale, what


def parameters_of(weights: Mapping[str, Array]) -> dict[str, Parameter]:
    """Parameters for a layer, of copies of these arrays."""
    return {name: Parameter(weight.copy()) for name, weight in weights.items()}


def tensors_of(arrays: Sequence[Array]) -> list[Tensor]:
    """Copies that gather gradients."""
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def assert_same_as_torch(
    layer: Any,
    inputs: Sequence[Array],
    parameters: Mapping[str, Parameter],
    function: Callable[..., Tensor],
    *constants: Any,
) -> None:
    """The layer's output, and its gradients of inputs and parameters, equal those of a function of tensors.

    The function takes the inputs, then the parameters by name with `_` for `.`.
    """
    tensors = tensors_of(inputs)
    weights = {name: torch.tensor(p.value, requires_grad=True) for name, p in parameters.items()}
    expected = function(*tensors, **{name.replace(".", "_"): weight for name, weight in weights.items()})
    actual = layer.forward(*(x.copy() for x in inputs), *constants)
    assert_close(actual, expected, "output")

    dy = random_array(*actual.shape, seed=99)
    gradients = torch.autograd.grad(expected, [*tensors, *weights.values()], torch.from_numpy(dy))
    dx = layer.backward(dy.copy())
    given = dx if isinstance(dx, tuple) else (dx,)
    floor = max(float(g.abs().max()) for g in gradients) * 1e-4  # a gradient that is 0 leaves rounding alone
    for i, (gradient, its) in enumerate(zip(given, gradients[: len(tensors)], strict=True)):
        assert_close(gradient, its, f"gradient of input {i}", floor)
    for name, gradient in zip(weights, gradients[len(tensors) :], strict=True):
        its_own = parameters[name].grad
        assert its_own is not None, name
        assert_close(its_own, gradient, f"gradient of {name}", floor)


def assert_slope(loss: Callable[[], float], arrays: Sequence[Array], gradients: Sequence[Array], seed: int = 0) -> None:
    """The central difference of a function along a random direction is the product of direction and gradient.

    The difference errs by h^2 times the third derivative, 1e-10 for h = 1e-5 and derivatives of size 1, and by the
    rounding of the loss over h, 1e-11.
    """
    h = 1e-5
    directions = [random_array(*array.shape, seed=seed + i) for i, array in enumerate(arrays)]
    length = np.sqrt(sum(float((d**2).sum()) for d in directions))
    values = []
    for sign in (1, -1):
        for array, direction in zip(arrays, directions, strict=True):
            array += sign * h / length * direction
        values.append(loss())
        for array, direction in zip(arrays, directions, strict=True):
            array -= sign * h / length * direction
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True)) / length
    steepness = np.sqrt(sum(float((g**2).sum()) for g in gradients))
    assert abs((values[0] - values[1]) / (2 * h) - slope) <= 1e-7 * max(steepness, 1.0)
