"""One model on several processes: a copy on each, or a part on each.

With a copy on each (DistributedDataParallel; Li et al. 2020, https://arxiv.org/abs/2006.15704) the gradients are
averaged. With a part on each (FSDP2's `fully_shard`; Zhao et al. 2023, https://arxiv.org/abs/2304.11277) a process
keeps a part of every parameter, of its gradient and of its moments, and fetches the whole parameters of a block when it
needs them. This is for a model that does not fit into memory otherwise.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lm.distributed.team import Team


def parallelise(
    objective: nn.Module, blocks: Iterable[nn.Module], team: Team, shard: bool, device: torch.device
) -> nn.Module:
    """The module to call for the objective, on its device. With `shard`, `blocks` are fetched one by one."""
    if team.size == 1:
        return objective.to(device)
    if not shard:
        return DistributedDataParallel(objective.to(device), gradient_as_bucket_view=True, forward_sync_buffers=False)
    from torch.distributed.fsdp import fully_shard  # takes a second, and few runs use it

    for block in blocks:
        fully_shard(block.to(device))  # one block at a time, because all of them may not fit
    fully_shard(objective.to(device))
    return objective


@contextmanager
def holds_back_gradients(module: nn.Module, wanted: bool) -> Iterator[None]:
    """A `with` block. If `wanted`, its gradients stay in this process; a later block sends their sum."""
    if set_sync := getattr(module, "set_requires_gradient_sync", None):  # a module that `fully_shard` has changed
        set_sync(not wanted)
        yield
    elif isinstance(module, DistributedDataParallel) and wanted:
        with module.no_sync():
            yield
    else:
        yield
