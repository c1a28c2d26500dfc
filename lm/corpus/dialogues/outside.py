"""Rows from outside as dialogues of both splits: which are held out, and what is done with a row that is none."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lm.config.dialogues import DialoguesConfig
from lm.corpus.dialogue import Dialogue
from lm.corpus.dialogues.rows import dialogue_of
from lm.corpus.document import Split
from lm.corpus.readers import Row
from lm.corpus.splits import is_held_out, text_key

Rows = Callable[[], Iterator[Row]]  # the rows of a source from the start, at every call


@dataclass(frozen=True)
class Dialogues:
    """The dialogues of a source with their split, which can be read once, and facts about their origin for the card.

    The facts are complete when the last dialogue has been taken.
    """

    dialogues: Iterator[tuple[Split, Dialogue]]
    facts: dict[str, object] = field(default_factory=dict)


def split_rows(train: Rows, valid: Rows | None, config: DialoguesConfig, facts: dict[str, object]) -> Dialogues:
    """The dialogues of rows. `facts` are told where validation came from, and of rows that were not taken as they are.

    With `valid`, these come first. Otherwise `config.valid_fraction` of the dialogues are held out, chosen by what is
    said in them (see `is_held_out`), so that no copy lands in the other split; if that leaves a split empty, the first
    one is held out, with its copies. `config.max_dialogues` limits the training dialogues, and nothing is read beyond.

    Raises:
        ValueError: during the pass, for a row that is no dialogue unless `config.broken_rows` is skip, and at its end
            if a split has none.
    """
    counts = Counter[str](n_joined_messages=0, n_unanswered_messages=0, n_broken_rows=0)
    if valid is not None:
        facts["validation"], dialogues = "given", _given(train, valid, config, counts)
    elif _content_fills_both(train, config):
        facts["validation"] = "dialogues held out by their content"
        dialogues = _held_out(train, config, counts, lambda said: is_held_out(said, config.valid_fraction))
    else:
        facts["validation"], first = "the first dialogue", set[int]()
        dialogues = _held_out(train, config, counts, lambda said: _is_in_or_first(text_key(said), first))
    return Dialogues(_counted(dialogues, facts, counts), facts)


def _given(train: Rows, valid: Rows, config: DialoguesConfig, counts: Counter[str]) -> Iterator[tuple[Split, Dialogue]]:
    keys = Counter[int]()
    for dialogue in _read(valid, config, counts):
        keys[text_key(_said(dialogue))] += 1
        yield "valid", dialogue
    counts["n_valid_dialogues_in_train"] = 0
    for n_train, dialogue in enumerate(_read(train, config, counts), start=1):
        counts["n_valid_dialogues_in_train"] += keys.pop(text_key(_said(dialogue)), 0)
        yield "train", dialogue
        if n_train == config.max_dialogues:  # checked here, because reading the next row may start a download
            return


def _held_out(
    train: Rows, config: DialoguesConfig, counts: Counter[str], is_valid: Callable[[str], bool]
) -> Iterator[tuple[Split, Dialogue]]:
    """The dialogues; `is_valid` chooses by what is said."""
    n_train = 0
    for dialogue in _read(train, config, counts):
        if is_valid(_said(dialogue)):
            yield "valid", dialogue
            continue
        n_train += 1
        yield "train", dialogue
        if n_train == config.max_dialogues:
            return


def _content_fills_both(train: Rows, config: DialoguesConfig) -> bool:
    """Whether holding out by content gives both splits a dialogue. Reads only until they have one."""
    found = set[Split]()
    for split, _ in _held_out(train, config, Counter(), lambda said: is_held_out(said, config.valid_fraction)):
        found.add(split)
        if len(found) == 2:
            return True
    return False


def _is_in_or_first(key: int, keys: set[int]) -> bool:
    """Whether a key is among the keys. The first one that is asked for becomes the only one."""
    keys.update([] if keys else [key])
    return key in keys


def _read(rows: Rows, config: DialoguesConfig, counts: Counter[str]) -> Iterator[Dialogue]:
    for place, row in rows():
        try:
            dialogue = dialogue_of(row, place, counts)
        except ValueError as error:
            if config.broken_rows == "fail":
                raise ValueError(f"{error}; dialogues.broken_rows=skip leaves such rows out") from None
            counts["n_broken_rows"] += 1
            continue
        yield dialogue


def _counted(
    dialogues: Iterator[tuple[Split, Dialogue]], facts: dict[str, object], counts: Counter[str]
) -> Iterator[tuple[Split, Dialogue]]:
    """The same dialogues. At their end the facts are told the counts."""
    n = Counter[Split]()
    for split, dialogue in dialogues:
        n[split] += 1
        yield split, dialogue
    facts.update(counts)
    for split, use in (("train", "training"), ("valid", "validation")):
        if not n[split]:
            broken = f" and {counts['n_broken_rows']} broken rows" if counts["n_broken_rows"] else ""
            others = f" beside {n['valid']} for validation" if n["valid"] else ""
            raise ValueError(f"dialogues.{split}: must give at least one dialogue for {use}, got 0{broken}{others}")


def _said(dialogue: Dialogue) -> str:
    return "\n".join(f"{message.role}: {message.content}" for message in dialogue.messages)
