"""Replaying a GPU's kernels without Python between them (CUDA graphs).

A small model's kernels take less time than Python needs to start them one by one. On an H100, a step of 22.7 million
parameters that Python starts takes 15.8 ms; its kernels alone take 12.5 ms (docs/results/training-speed.md).
"""

import gc
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from lm.system.devices import memory_errors
from lm.system.recording import Record, record
from lm.training.compile_check import copy_all

_NO_MEMORY = "not enough memory to record kernels, so they are not replayed"


class Replayed:
    """A function of tensors whose kernels are recorded once for each combination of shapes, and then replayed.

    The first call with some shapes runs the function as it is, because that may compile code. The second runs it too,
    then records it, and replays the record on the same numbers. If result or `changed` differ in a bit, or memory does
    not suffice, there is a warning, and the function is not replayed. `changed` gives the tensors that the function
    changes. They, and all that it reads besides its arguments, must stay at their place in memory.
    """

    def __init__(
        self, function: Callable[..., Tensor], device: torch.device, changed: Callable[[], list[Tensor]]
    ) -> None:
        self._function, self._device, self._changed = function, device, changed
        self._recorder = Recorder(device)
        self._ready: set[tuple[torch.Size, ...]] = set()
        self._records: dict[tuple[torch.Size, ...], Record[Tensor] | None] = {}

    def __call__(self, *arguments: Tensor) -> Tensor:
        """The result for arguments on the CPU or the GPU. The next call may overwrite it."""
        shapes = tuple(argument.shape for argument in arguments)
        if recorded := self._records.get(shapes):
            for place, argument in zip(recorded.inputs, arguments, strict=True):
                place.copy_(argument, non_blocking=True)
            recorded.replay()
            return recorded.output
        inputs = [argument.to(self._device, copy=True) for argument in arguments]
        if shapes in self._ready and shapes not in self._records:
            return self._call_and_record(shapes, inputs)
        self._ready.add(shapes)
        return self._recorder.call(self._function, inputs)

    def _call_and_record(self, shapes: tuple[torch.Size, ...], inputs: list[Tensor]) -> Tensor:
        self._records[shapes] = None
        changed = [tensor.detach() for tensor in self._changed()]
        try:
            with memory_errors():
                before = [tensor.clone() for tensor in changed]
        except MemoryError:
            warnings.warn(_NO_MEMORY, stacklevel=2)
            return self._recorder.call(self._function, inputs)
        result = self._recorder.call(self._function, inputs).clone()
        after: list[Tensor] = []
        try:
            with memory_errors():
                after = [tensor.clone() for tensor in changed]
                recorded = self._recorder.record(self._function, inputs)
                copy_all(before, changed)
                recorded.replay()
                same = all(map(torch.equal, [recorded.output, *changed], [result, *after]))
        except MemoryError:
            warnings.warn(_NO_MEMORY, stacklevel=2)
        else:
            if same:
                self._records[shapes] = recorded
            else:
                warnings.warn("a replay has other bits than a call, so kernels are not replayed", stacklevel=2)
        if after:
            copy_all(after, changed)
        return result


class Recorder:
    """Calls and records functions on a stream of its own, because autograd binds gradients to their stream."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # All records share it: the output of a call is read before the next one.
        self._pool = torch.cuda.graph_pool_handle()

    def call(self, function: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
        """The function's result. Work that comes later waits for it."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            output = function(*inputs)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return output

    def record(self, function: Callable[..., Tensor], inputs: list[Tensor]) -> Record[Tensor]:
        """The kernels of a call. They do not run while they are recorded."""
        gc.collect()  # the memory that an earlier model has left on the GPU may be needed
        return record(function, inputs, stream=self._stream, pool=self._pool)
