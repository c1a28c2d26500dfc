"""Automata that find phrases in a text which grows byte by byte. A text is read in bytes, whatever its tokens are."""

from collections import deque
from collections.abc import Sequence
from typing import AnyStr, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32
from numpy.typing import NDArray


class Automaton(NamedTuple):
    """A finite automaton over bytes.

    Attributes:
        next: the state after each byte, for each state.
        found: whether a phrase has just been completed, for each state.
    """

    next: Int32[np.ndarray, "states 256"]
    found: Bool[np.ndarray, " states"]

    def walk(self, state: int, text: bytes) -> list[int]:
        """The given state, and the state after each byte of a text."""
        states = [state]
        for byte in text:
            states.append(int(self.next[states[-1], byte]))
        return states


def anywhere(phrases: Sequence[bytes]) -> Automaton:
    """The automaton that finds each of the phrases at any place. It starts in state 0.

    Its states are the prefixes of the phrases: the longest one that the text ends with (Aho and Corasick 1975,
    https://doi.org/10.1145/360825.360855).
    """
    children: list[dict[int, int]] = [{}]
    found = [False]
    for phrase in phrases:
        state = 0
        for byte in phrase:
            if byte not in children[state]:
                children[state][byte] = len(children)
                children.append({})
                found.append(False)
            state = children[state][byte]
        found[state] = True
    table = np.zeros((len(children), 256), dtype=np.int32)
    # From the shortest prefix to the longest: `shorter` is the state of the longest proper suffix that is a prefix too.
    waiting = deque([(0, 0)])
    while waiting:
        state, shorter = waiting.popleft()
        found[state] |= found[shorter]
        table[state] = table[shorter]
        for byte, child in children[state].items():
            waiting.append((child, int(table[shorter, byte]) if state else 0))
            table[state, byte] = child
    return Automaton(table, np.array(found))


# Whether a byte is the second or a later one of a character in UTF-8, and whether a character that begins with it
# belongs to a word. Beyond ASCII, words are of the alphabets up to U+1FFF; above are signs, emojis, and writing without
# spaces.
_IS_REST = np.array([0x80 <= byte < 0xC0 for byte in range(256)])
_BEGINS_WORD = np.array(
    [chr(byte).isalnum() or byte == ord("_") if byte < 0x80 else 0xC3 <= byte <= 0xE1 for byte in range(256)]
)

# States of `as_word` in which the text ends with nothing of the phrase, but with no character of a word, or with one.
APART, IN_WORD = 0, 1


def border(text: bytes) -> int:
    """The state of `as_word` after a text in which the phrase is not looked for."""
    return IN_WORD if _in_word(text) else APART


def as_word(phrase: bytes) -> Automaton:
    """The automaton that finds a phrase where no letter, digit or underscore stands directly before or after it.

    `found` is true when the phrase is complete and would be a word if the text ended there, and always after another
    character has made it one. If a letter follows instead, it is false again.
    """
    n = len(phrase)
    complete, certain = n + 1, n + 2  # state 1 + k: the text ends with the first k bytes of the phrase, for k > 0
    table = np.empty((n + 3, 256), dtype=np.int32)
    for state in range(n + 2):
        before = phrase[: state - 1] if state > IN_WORD else b""
        # The rest of a character belongs to its first byte.
        table[state] = np.where(_BEGINS_WORD, IN_WORD, APART)
        table[state, _IS_REST] = border(before) if before else state
        for byte in set(phrase):
            if k := _longest_start(phrase, before + bytes([byte]), after_word=state == IN_WORD):
                table[state, byte] = 1 + k
    table[complete, ~_BEGINS_WORD if _in_word(phrase) else slice(None)] = certain
    table[certain] = certain
    return Automaton(table, np.arange(n + 3) >= complete)


def _longest_start(phrase: bytes, text: bytes, *, after_word: bool) -> int:
    """How many bytes of the phrase the text ends with, so that the phrase can be a word. A word may precede it."""
    for k in range(min(len(phrase), len(text)), 0, -1):
        if text.endswith(phrase[:k]):
            rest = text[: len(text) - k]
            if not _BEGINS_WORD[phrase[0]] or not (_in_word(rest) if rest else after_word):
                return k
    return 0


def _in_word(text: bytes) -> bool:
    """Whether the last character belongs to a word."""
    first_bytes = [byte for byte in text if not _IS_REST[byte]]
    return bool(first_bytes) and bool(_BEGINS_WORD[first_bytes[-1]])


class Vocabulary:
    """The bytes of all tokens, which an automaton walks through at once."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        lengths = np.array([len(token) for token in tokens], dtype=np.int64)
        self._longest_first = np.argsort(-lengths, kind="stable")
        ordered = [tokens[id] for id in self._longest_first]
        # The bytes at each place, of the tokens that are so long.
        self._columns: list[NDArray[np.uint8]] = []
        for place in range(lengths.max(initial=0)):
            column = bytes(token[place] for token in ordered[: int((lengths > place).sum())])
            self._columns.append(np.frombuffer(column, dtype=np.uint8))

    def finding(self, automaton: Automaton, state: int) -> Bool[np.ndarray, " vocab"]:
        """Whether each token, if it follows a text of this state, completes a phrase somewhere in it."""
        states = np.full(len(self._longest_first), state, dtype=np.int32)
        finds = np.zeros(len(states), dtype=np.bool_)
        for column in self._columns:
            n = len(column)
            states[:n] = automaton.next[states[:n], column]
            finds[:n] |= automaton.found[states[:n]]
        result = np.empty_like(finds)
        result[self._longest_first] = finds
        return result


def stop_at(text: AnyStr, stops: Sequence[AnyStr]) -> int:
    """The place where a text stops: where the stop string begins that is complete first. The end if there is none."""
    found = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    return min(found)[1] if found else len(text)


class UpToStop:
    """Lets a text that comes in pieces pass up to the first stop string, and nothing that may become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held, self._stopped = stops, "", False

    def add(self, piece: str, *, is_last: bool = False) -> str:
        """What is certain with one piece more."""
        if self._stopped:
            return ""
        text = self._held + piece
        n = stop_at(text, self._stops)
        self._stopped = n < len(text)
        if not (self._stopped or is_last):
            n -= max((k for stop in self._stops for k in range(1, len(stop)) if text.endswith(stop[:k])), default=0)
        self._held = text[n:]
        return text[:n]
