"""A conversation that goes on: what was said, how answers are drawn, and the commands that change both."""

import difflib
import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lm.corpus.dialogue import Dialogue, Message, write_dialogues
from lm.generation.conversation import answer_text, fitted_prompt, reply
from lm.generation.load import Trained
from lm.generation.sampling import Sampling

HELP = """\
/new            forget what was said, and begin anew
/undo           forget your last message and the answer to it
/retry          another answer to your last message
/system TEXT    tell the model who it is, and begin anew; without a text: nothing
/set            show the settings; /set temperature 0.7 changes one
/save FILE      write the conversation as one line of JSON, in the form of a dialogue to train on
/help           show this
/quit           leave, as Ctrl-D does

Ctrl-C stops an answer. Alt+Enter begins a new line. The arrow keys bring back what you have written."""

_ALONE = ("/new", "/undo", "/retry", "/help", "/quit", "/exit")  # commands that take no text


@dataclass(frozen=True)
class Settings:
    """How answers are drawn."""

    temperature: float = 0.7
    top_p: float = 0.95
    max_new_tokens: int = 400
    seed: int = 1337

    def changed(self, name: str, value: str) -> "Settings":
        """The settings with one value changed.

        Raises:
            ValueError: when there is no such setting, or the value does not suit it.
        """
        known = self.__dataclass_fields__
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}?" if near else f"must be one of {', '.join(known)}"
            raise ValueError(f"{name}: unknown setting, {meant}")
        whole = name in ("max_new_tokens", "seed")
        try:
            number = int(value) if whole else float(value)
        except ValueError:
            number = math.nan
        least = 1 if name == "max_new_tokens" else 0
        if not number >= least or (name == "top_p" and not 0 < number <= 1) or number == math.inf:
            rule = "above 0 and at most 1" if name == "top_p" else f"a {'whole ' * whole}number, {least} or above"
            raise ValueError(f"{name}: must be {rule}, got {value!r}")
        changes: dict[str, Any] = {name: number}
        return replace(self, **changes)

    def __str__(self) -> str:
        return "\n".join(
            f"{name} {value if isinstance(value, int) else format(value, 'g')}" for name, value in vars(self).items()
        )


class Talk:
    """A conversation with a model.

    An answer depends on the messages, the settings, and how many answers were given since the last `/new`: so a retry
    gives another answer, and the same inputs give the same conversation again.
    """

    def __init__(self, trained: Trained, settings: Settings, system: str | None, note: Callable[[str], None]) -> None:
        self._model, self._tokenizer, _ = trained
        self._note = note
        self.settings = settings
        self.messages: list[Message] = []
        self._n_answers = 0
        self._saved: set[Path] = set()
        self._begin(system)

    def say(self, text: str) -> Iterator[str]:
        """The answer to a message, in pieces as it is drawn. What was drawn stays if the caller stops.

        A message that has got no answer, not even a character, can be retried; the next message replaces it. So user
        and assistant always speak in turn, as in the dialogues that the model has learnt from.

        Raises:
            ValueError: when the message does not fit into the context; it is not kept then.
        """
        asked = [*self._answered(), Message("user", text)]
        prompt = fitted_prompt(self._tokenizer, asked, self._model.config.context_length)
        if prompt.n_dropped:
            self._note(f"the context is full: the model no longer sees the oldest {prompt.n_dropped} messages")
        self.messages = asked
        sampling = Sampling(self.settings.temperature, top_p=self.settings.top_p)
        seed = (self.settings.seed + self._n_answers) % 2**32
        self._n_answers += 1
        said: list[str] = []
        events = reply(
            self._model,
            self._tokenizer,
            [prompt],
            sampling,
            max_new_tokens=self.settings.max_new_tokens,
            seed=seed,
        )
        try:
            for piece in answer_text(self._tokenizer, events):
                said.append(piece)
                if piece:
                    yield piece
        finally:
            if answer := "".join(said):
                self.messages.append(Message("assistant", answer))
            else:
                self._note("no answer; /retry asks again")

    def command(self, line: str) -> Iterator[str] | str | None:
        """Carry out a command: what to show, an answer in pieces, or None to leave.

        Raises:
            ValueError: when it cannot be carried out.
        """
        name, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if rest and name in _ALONE:
            raise ValueError(f"{name}: must stand alone, got {rest!r}")
        match name:
            case "/new":
                self._begin(self.system)
                return "a new conversation"
            case "/system":
                self._begin(rest or None)
                return "a new conversation, with this system message" if rest else "no system message"
            case "/undo":
                self._take_back()
                return "your last message is forgotten"
            case "/retry":
                return self.say(self._take_back())
            case "/set" if not rest:
                return str(self.settings)
            case "/set":
                setting, _, value = rest.partition(" ")
                self.settings = self.settings.changed(setting, value.strip())
                return f"{setting} {value.strip()}"
            case "/save":
                return self._save(rest)
            case "/help":
                return HELP
            case "/quit" | "/exit":
                return None
        known = [line.split()[0] for line in HELP.splitlines() if line.startswith("/")]
        near = difflib.get_close_matches(name.lower(), known, n=1)
        raise ValueError(f"{name}: unknown command, {f'did you mean {near[0]}?' if near else '/help shows all'}")

    @property
    def system(self) -> str | None:
        """The system message, if there is one."""
        return self.messages[0].content if self.messages and self.messages[0].role == "system" else None

    def _answered(self) -> list[Message]:
        """What was said, without a message at the end that has got no answer."""
        return self.messages[:-1] if self.messages and self.messages[-1].role == "user" else self.messages

    def _begin(self, system: str | None) -> None:
        self.messages = [Message("system", system)] if system else []
        self._n_answers = 0

    def _take_back(self) -> str:
        """Forget the last message of the user and what follows it. Returns what it said."""
        places = [place for place, message in enumerate(self.messages) if message.role == "user"]
        if not places:
            raise ValueError("nothing was said yet")
        text = self.messages[places[-1]].content
        del self.messages[places[-1] :]
        return text

    def _save(self, name: str) -> str:
        if not name:
            raise ValueError("/save: must name a file, got none")
        messages = self._answered()
        if not any(message.role == "assistant" for message in messages):
            raise ValueError("nothing was answered yet")
        path = Path(name).expanduser()
        if path.exists() and path not in self._saved:
            raise ValueError(f"/save: must name a new file, got {path}, which is there already")
        try:
            write_dialogues(path, [Dialogue(tuple(messages))])
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror or error}") from None
        self._saved.add(path)
        return f"{len(messages)} messages are in {path}"


def shown(pieces: Iterator[str], show: Callable[[str], None]) -> bool:
    """Show an answer as it comes. False if Ctrl-C has stopped it."""
    with closing(pieces):  # type: ignore[type-var]
        try:
            for piece in pieces:
                show(piece)
        except KeyboardInterrupt:
            return False
    return True
