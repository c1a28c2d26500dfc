"""The processes that train one model together, each on its own rows of every batch. Here: a single process."""

from typing import TypeVar

Values = TypeVar("Values")


class Team:
    """This process's place in its team, a team of one. `lm.distributed.torch_team` has teams of several processes."""

    rank, size = 0, 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.rank == 0

    def mean(self, values: Values) -> Values:
        """The mean of the values of all members. Every member gets the same bits."""
        return values

    def broadcast(self, value: int) -> int:
        """The leader's value, so that all members do the same at the same step."""
        return value

    def leave(self) -> None:
        """End the connection, before the process ends."""
