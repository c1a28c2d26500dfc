"""Weight matrices as generation reads them: made ready once, multiplied many times.

Generating a token reads every weight once for one or a few rows. So the time goes into reading, and a matrix is kept in
the form that the processor reads fastest. In the kinds for a CPU, a row of the product does not depend on the rows
beside it, if there are `fewest_rows` or more.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import BFloat16, Float, Int8
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name the field uses)

from lm.config.weights import GROUP, Weights

_INT8_WIDTH = (
    16  # the kernel of int8 takes the numbers of a row by so many; of what is left over it reads beyond the row
)


@runtime_checkable
class Product(Protocol):
    """x W^T + b for a matrix W and a bias b that are made ready."""

    def __call__(self, x: Float[Tensor, "n d_in"], plus: Float[Tensor, "n d_out"] | None = None) -> Tensor:
        """The product of shape (n, d_out). `plus` is added to it: a residual stream, which some kernels add at once."""


def product(weight: Float[Tensor, "d_out d_in"], bias: Float[Tensor, " d_out"] | None, weights: Weights) -> Product:
    """The product for the matrix, which is on its device in its precision; int8 and int4 take x in bfloat16.

    Raises:
        ValueError: when int4 cannot group the rows of this matrix.
    """
    match weights:
        case "int8":
            return _then_added(_int8(weight), bias)
        case "int4":
            return _then_added(_int4(weight), bias)
        case _ if _can_pack(weight):
            return _packed(weight, bias)
        case _:
            return _then_added(lambda x: F.linear(x, weight, bias))


def fewest_rows(like: Float[Tensor, "d_out d_in"], weights: Weights | None) -> int:
    """How many rows a product should have, with matrices of this device and dtype. Fewer are possible, but not faster.

    With fewer rows oneDNN's kernels wait for their own sums, and they round a single row otherwise.
    """
    return 4 if weights not in ("int8", "int4") and _can_pack(like) else 1


def quantised(weight: Float[Tensor, "d_out d_in"]) -> tuple[Int8[Tensor, "d_out d_in"], BFloat16[Tensor, " d_out"]]:
    """The matrix as int8, and a scale for each row: weight = int8 * scale, rounded to the nearest.

    The largest magnitude of a row becomes 127. So no number is off by more than half of a scale, or by what the scale
    itself is rounded by.
    """
    smallest = torch.finfo(torch.bfloat16).tiny
    scale = (weight.float().abs().amax(1) / 127).clamp_min(smallest).bfloat16()
    numbers = (weight.float() / scale.float()[:, None]).round().clamp(-127, 127)
    return numbers.to(torch.int8), scale


def _packed(weight: Tensor, bias: Tensor | None) -> Product:
    """A product of oneDNN, with the matrix in the order that its kernels read."""
    # The hint of 32 rows chooses an order of the numbers; any number of rows can be multiplied.
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 32)

    def multiply(x: Tensor, plus: Tensor | None = None) -> Tensor:
        y: Tensor
        if plus is None:
            y = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
        else:
            y = torch.ops.mkldnn._linear_pointwise.binary(x, plus, packed, bias, "add")
        return y

    return multiply


def _can_pack(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if weight.dtype == torch.bfloat16:
        supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return supported
    return weight.dtype == torch.float32


def _int8(weight: Tensor) -> Callable[[Tensor], Tensor]:
    numbers, scale = quantised(weight)
    if missing := -weight.shape[1] % _INT8_WIDTH:
        numbers = F.pad(numbers, (0, missing))
        return lambda x: torch._weight_int8pack_mm(F.pad(x, (0, missing)), numbers, scale)
    return lambda x: torch._weight_int8pack_mm(x, numbers, scale)


def _int4(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Numbers from 0 to 15, with a scale and a zero point for each group of a row."""
    n_rows, width = weight.shape
    if width % GROUP:
        raise ValueError(f"int4 needs widths that are multiples of {GROUP}, and this model has one of {width}")
    padded = F.pad(weight.float(), (0, 0, 0, -n_rows % 64))  # the kernel takes rows by 64
    groups = padded.view(len(padded), -1, GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scale = ((high - low) / 15).clamp_min(torch.finfo(torch.bfloat16).tiny).bfloat16()
    middle = (low + 8 * scale.float()).bfloat16()  # the kernel computes (number - 8) * scale + middle
    numbers = ((groups - middle.float()[..., None]) / scale.float()[..., None]).round().add(8).clamp(0, 15)
    packed = torch._convert_weight_to_int4pack_for_cpu(numbers.view_as(padded).int(), 1)
    scales_and_middles = torch.stack([scale, middle], -1).transpose(0, 1).contiguous()  # (groups, rows, 2)

    def multiply(x: Tensor) -> Tensor:
        y: Tensor = torch._weight_int4pack_mm_for_cpu(x.contiguous(), packed, GROUP, scales_and_middles)
        return y.narrow(1, 0, n_rows)

    return multiply


def _then_added(multiply: Callable[[Tensor], Tensor], bias: Tensor | None = None) -> Product:
    def add(x: Tensor, plus: Tensor | None = None) -> Tensor:
        y = multiply(x)
        y = y if bias is None else y + bias
        return y if plus is None else y + plus

    return add
