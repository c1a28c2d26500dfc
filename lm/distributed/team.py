"""The processes that train one model together, each on its share of every batch. Here: one alone."""

from typing import TypeVar

Values = TypeVar("Values")


class Team:
    """This process's place among those of its run. `lm.distributed.torch_team` has teams of several."""

    rank, size = 0, 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.rank == 0

    def mean(self, values: Values) -> Values:
        """The mean of all members' values, the same bits for each."""
        return values

    def broadcast(self, value: int) -> int:
        """The leader's value, so that all do the same at the same step."""
        return value

    def leave(self) -> None:
        """End the connection, before the process ends."""
