"""The terminal: a line that can be edited, with history and completion, and answers that come token by token."""

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from rich.console import Console

from commands.chat.talk import HELP, Settings, Talk, shown
from commands.chat.wrapping import Wrapping

# What the model says may not move the cursor or change colours, whatever bytes it draws.
VISIBLE = {number: "�" for number in (*range(32), *range(127, 160)) if chr(number) not in "\n\t"}


class Screen:
    """What a person sees. Notes are dim; without a terminal, or with NO_COLOR, nothing is coloured."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False, soft_wrap=True)
        answers_go_elsewhere = sys.stderr.isatty() and not sys.stdout.isatty()
        self._session: PromptSession[str] = PromptSession(
            history=_history(),
            completer=_completer(),
            complete_while_typing=False,
            key_bindings=_keys(),
            output=create_output(sys.stderr) if answers_go_elsewhere else None,
        )

    def note(self, text: str) -> None:
        """Show something that the model has not said."""
        self._console.print(text, style="dim")

    def talk(self, talk: Talk) -> None:
        """Let a person talk until Ctrl-D, `/quit`, or Ctrl-C twice in a row at an empty line."""
        stopped_before = False
        while True:
            try:
                text = self._session.prompt("> ").strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                if stopped_before:
                    return
                stopped_before = True
                self.note("Ctrl-C again or Ctrl-D leaves")
                continue
            stopped_before = False
            if not text:
                continue
            try:
                answer = talk.command(text) if text.startswith("/") else talk.say(text)
                if answer is None:
                    return
                if isinstance(answer, str):
                    self.note(answer)
                else:
                    self._show(answer)
            except ValueError as error:
                self._console.print(f"error: {error}", style="red")

    def _show(self, pieces: Iterator[str]) -> None:
        wrapping = Wrapping(self._console.width if self._console.is_terminal else sys.maxsize)

        def show(piece: str) -> None:
            sys.stdout.write(wrapping.add(piece.translate(VISIBLE)))
            sys.stdout.flush()

        with _unseen_typing():
            finished = shown(pieces, show)
        sys.stdout.write(wrapping.rest() + "\n")
        if not finished:
            self.note("stopped")
        sys.stdout.write("\n")
        sys.stdout.flush()


@contextmanager
def _unseen_typing() -> Iterator[None]:
    """Keep what is typed during an answer out of the answer. It waits for the next line, and is shown there."""
    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, OSError):  # no terminal
        yield
        return
    unseen = [*before]
    unseen[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, unseen)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _completer() -> WordCompleter:
    commands = [line.split()[0] for line in HELP.splitlines() if line.startswith("/")]
    settings = [f"/set {name}" for name in vars(Settings())]
    return WordCompleter([*commands, *settings], sentence=True)


def _history() -> History:
    """What was written in earlier conversations: in a file of the user, or in memory where it cannot be written."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "storyline"
    with suppress(OSError):
        state.mkdir(parents=True, exist_ok=True)
        path = state / "chat_history"
        path.touch(mode=0o600)  # what was said is private
        return FileHistory(str(path))
    return InMemoryHistory()
