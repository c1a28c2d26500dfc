"""Lines of a text that comes in pieces, broken between words."""

from rich.cells import cell_len

_LONGEST = 30  # columns of a word that is still waited for: some languages write without spaces


class Wrapping:
    """Breaks the lines of a growing text so that each has at most `width` columns.

    A word is shown when it is whole. One that is longer than `_LONGEST` columns is not waited for, and is left to the
    terminal.
    """

    def __init__(self, width: int) -> None:
        self._width, self._column = width, 0
        self._spaces = self._word = ""  # the word that may go on, and what stands before it

    def add(self, piece: str) -> str:
        """What can be shown after this piece."""
        shown = ""
        for character in piece:
            if character == "\n":
                shown += self.rest() + "\n"
                self._column, self._spaces = 0, ""
            elif character.isspace():
                shown += self.rest()
                self._spaces += character
            else:
                self._word += character
                if cell_len(self._word) >= _LONGEST:
                    shown += self.rest()
        return shown

    def rest(self) -> str:
        """The word that may go on, on a line of its own if this one has no room for it."""
        if not self._word:
            return ""
        spaces, word = self._spaces, self._word
        if self._spaces and self._column and self._column + cell_len(spaces + word) > self._width:
            spaces, self._column = "\n", 0
        self._column += cell_len(spaces.removeprefix("\n") + word)
        self._spaces = self._word = ""
        return spaces + word
