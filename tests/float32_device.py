"""A device without float64, as Apple's GPUs are, played on the CPU.

Its tensors say that they lie on `meta`, a device of PyTorch that every machine has and that computes nothing. Here
their numbers lie in twins on the CPU, and every operation on them is done there. So results are true ones.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")

_MISSING = (torch.float64, torch.complex128)
_FOR_TENSORS_OF_TWO_DEVICES = {
    torch.ops.aten.copy_.default,
    torch.ops.aten.index.Tensor,
    torch.ops.aten._index_put_impl_.default,
    torch.ops.aten.index_put_.default,
}


class Float32Device(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While the block runs, the device computes. A tensor of float64 on it raises TypeError; so does an operation on a
    tensor of this device and one of the CPU."""

    def __enter__(self) -> Self:
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # `Module.to` makes new parameters
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        torch.__future__.set_overwrite_module_params_on_conversion(False)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _call(func, args, kwargs or {})


class _Tensor(Tensor):
    """A tensor on the device. `twin` holds its numbers."""

    twin: Tensor

    @staticmethod
    def __new__(cls, twin: Tensor) -> Self:
        if twin.dtype in _MISSING:
            raise TypeError(f"the device has no {twin.dtype}")
        made: Self = torch.Tensor._make_wrapper_subclass(
            cls, twin.shape, strides=twin.stride(), dtype=twin.dtype, device=DEVICE
        )
        made.twin = twin
        return made

    def tolist(self) -> Any:
        """As of a tensor on the CPU. PyTorch leaves this to subclasses."""
        return self.twin.tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _call(func, args, kwargs or {})


def _call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    ours = [each for each in tensors if isinstance(each, _Tensor)]
    if ours and func not in _FOR_TENSORS_OF_TWO_DEVICES:
        others = [each for each in tensors if not isinstance(each, _Tensor) and each.ndim]
        if others:
            raise TypeError(f"{func}: tensors must lie on one device")
    here = bool(ours) if kwargs.get("device") is None else torch.device(kwargs["device"]) == DEVICE
    if "device" in kwargs:
        kwargs = kwargs | {"device": "cpu"}
    args, kwargs = tree_map_only(_Tensor, lambda x: x.twin, (args, kwargs))
    result = func(*args, **kwargs)
    if not here:
        return result
    known = {id(each.twin): each for each in ours}  # what an operation in place gives is what it was given
    return tree_map_only(Tensor, lambda x: known[id(x)] if id(x) in known else _Tensor(x), result)
