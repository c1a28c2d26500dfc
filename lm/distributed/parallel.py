"""One model on several processes: a copy on each, or a share on each.

A copy on each (DistributedDataParallel; Li et al. 2020, https://arxiv.org/abs/2006.15704) adds up the gradients. A
share on each (FSDP2's `fully_shard`; Zhao et al. 2023, https://arxiv.org/abs/2304.11277) keeps a part of every
parameter, of its gradient and of its moments, and fetches a block's whole parameters when their turn comes: for a model
that does not fit otherwise.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from lm.distributed.team import Team


def share_out(
    objective: nn.Module, blocks: Iterable[nn.Module], team: Team, shard: bool, device: torch.device
) -> nn.Module:
    """The objective on its device, or the module to call in its place; `blocks` are what is fetched part by part."""
    if team.size == 1:
        return objective.to(device)
    if not shard:
        return DistributedDataParallel(objective.to(device), gradient_as_bucket_view=True, forward_sync_buffers=False)
    for block in blocks:
        fully_shard(block.to(device))  # one at a time, for all of them may not fit
    fully_shard(objective.to(device))
    return objective


@contextmanager
def holds_back_gradients(shared: nn.Module, wanted: bool) -> Iterator[None]:
    """A block whose gradients are only added up here, to be sent with those of a later one."""
    if isinstance(shared, FSDPModule):
        shared.set_requires_gradient_sync(not wanted)
        yield
    elif isinstance(shared, DistributedDataParallel) and wanted:
        with shared.no_sync():
            yield
    else:
        yield
