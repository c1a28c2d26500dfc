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

    def agree(self, wish: int) -> int:
        """The leader's wish, so that all do the same at the same step."""
        return wish

    def leave(self) -> None:
        """End the connection, before the process ends."""
