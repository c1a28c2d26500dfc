"""Teams of several processes, on `torch.distributed`."""

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from lm.distributed.launch import team_size
from lm.distributed.team import Team

# Longer than any step. The launcher ends a team whose member dies, so this is for a machine that is lost.
_PATIENCE = timedelta(minutes=30)

# The group of a team, kept until the interpreter ends. Its destructor waits for Gloo's threads, and these for Python's
# lock, with which they give back the tensors of the last exchange. This reference lets go of the lock as it ends; that
# of a DDP model's reducer does not, and would wait for ever if it were the last.
_joined: list[object] = []


class DistributedTeam(Team):
    """A member of a team that has been formed by `join`."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self._device = rank, size, device

    def mean(self, values: Tensor) -> Tensor:  # type: ignore[override]
        """The mean of all members' values, the same bits for each; changes them in place."""
        dist.all_reduce(values)
        return values.div_(self.size)

    def broadcast(self, value: int) -> int:
        """The leader's value, so that all do the same at the same step."""
        tensor = torch.tensor(value, device=self._device)
        dist.broadcast(tensor, 0)
        return int(tensor)

    def leave(self) -> None:
        """End the connection, once all have come to the end of their work."""
        dist.barrier()
        dist.destroy_process_group()


def join(device: torch.device) -> tuple[Team, torch.device]:
    """This process's team, and its own device.

    A launcher tells a process its place by environment variables, `torchrun` and `lm.distributed.launch` by the same
    ones. Without them the process is alone. On CPUs the team talks through Gloo, on GPUs through NCCL.
    """
    size = team_size()
    if size == 1:
        return Team(), device
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", timeout=_PATIENCE, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=_PATIENCE)
    _joined.append(dist.group.WORLD)
    return DistributedTeam(rank, size, device), device


def is_lost_member(error: RuntimeError) -> bool:
    """Whether an error is that of a connection to a process that is gone: that one, or its launcher, knows why."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()
