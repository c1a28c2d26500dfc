"""Kernels of a GPU that are recorded once, and then started all together, without Python: CUDA graphs.

A small model has some hundred kernels of a few microseconds each. Starting them one by one takes longer than they do.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Output = TypeVar("Output")


@dataclass(frozen=True)
class Record(Generic[Output]):
    """What was recorded, and the memory of its inputs and output. A replay reads the inputs and writes the output."""

    inputs: Sequence[Tensor]
    output: Output
    replay: Callable[[], None]


def record(
    function: Callable[..., Output],
    inputs: Sequence[Tensor],
    *,
    stream: torch.cuda.Stream | None = None,
    pool: Any = None,
) -> Record[Output]:
    """The kernels of a call. They do not run while they are recorded.

    Libraries set themselves up in a first call, so there must have been one. Records of one `pool` share memory: the
    output of each must be read before another is replayed.
    """
    graph = torch.cuda.CUDAGraph()
    # Python might collect what an earlier model has left on the GPU, and freeing memory would spoil the record.
    gc.disable()
    try:
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            output = function(*inputs)
    finally:
        gc.enable()
    return Record(inputs, output, graph.replay)


def call_and_record(function: Callable[..., Output], inputs: Sequence[Tensor], *, pool: Any = None) -> Record[Output]:
    """The same after a first call."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        function(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    return record(function, inputs, pool=pool)
