"""Teams of several processes, on `torch.distributed`."""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lm.distributed.launch import LISTENER, team_size
from lm.distributed.team import Team

# Longer than any step. The launcher ends a team when a member dies, so this limit is for a machine that is lost.
_PATIENCE = timedelta(minutes=30)

# The group of a team, kept until the interpreter ends; otherwise a run can wait for ever at its end. The destructor of
# the group waits for Gloo's threads. These threads need Python's lock, to free the tensors of the last exchange. When
# this reference ends, it releases the lock first. The reducer of a DDP model has a reference too; that one does not
# release the lock, so it must not be the last.
_joined: list[object] = []


class DistributedTeam(Team):
    """A member of a team that `join` has formed."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self._device = rank, size, device

    def mean(self, values: Tensor) -> Tensor:  # type: ignore[override]
        """The mean of the values of all members, in place. Every member gets the same bits."""
        dist.all_reduce(values)
        return values.div_(self.size)

    def broadcast(self, value: int) -> int:
        """The leader's value, so that all members do the same at the same step."""
        tensor = torch.tensor(value, device=self._device)
        dist.broadcast(tensor, 0)
        return int(tensor)

    def leave(self) -> None:
        """End the connection, after all members have finished their work."""
        dist.barrier()
        dist.destroy_process_group()


def join(device: torch.device) -> tuple[Team, torch.device]:
    """This process's team, and its own device.

    A process reads its place in the team from environment variables; `torchrun` and `lm.distributed.launch` set the
    same ones. Without them the process is alone. On CPUs the team uses Gloo, on GPUs NCCL.
    """
    size = team_size()
    if size == 1:
        return Team(), device
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    place: dict[str, Any] = {"timeout": _PATIENCE}
    if LISTENER in os.environ:
        place |= {"rank": rank, "world_size": size, "store": _store(rank, size)}
    if device.type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device, **place)
    else:
        dist.init_process_group("gloo", **place)
    _joined.append(dist.group.WORLD)
    return DistributedTeam(rank, size, device), device


def _store(rank: int, size: int) -> object:
    """Where the members find each other. The leader serves it, at the socket that the launcher has given it."""
    return dist.TCPStore(  # type: ignore[attr-defined]  # torch.distributed imports it without naming it as its own
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        size,
        is_master=rank == 0,
        timeout=_PATIENCE,
        master_listen_fd=int(os.environ[LISTENER]) if rank == 0 else None,
    )


def is_lost_member(error: RuntimeError) -> bool:
    """Whether an error says that another process is gone. That process, or its launcher, knows the reason."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()
