"""Text for benchmarks: real text repeated until there is enough of it, or made-up text of any size."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SEPARATOR = b"\n<|endoftext|>\n"
_ONSETS = [*"tswhbmfdpclrngkyvjz", "th", "st", "wh", "sh", "ch", "pr", "tr", "br", "gr", "fl", "cr", "bl", "str"]
_VOWELS = [*"eaoiu", "ea", "ou", "oo", "ai", "y", "ee", "io"]
_CODAS = ["", "", "", *"nrstdlmp", "ng", "nd", "st", "ck", "th", "nt", "ss", "ll", "ght"]
_N_WORDS = 400_000  # different ones, at most
_ENDS = {" ": 0.83, ", ": 0.05, ". ": 0.05, "? ": 0.01, ";\n": 0.01, ".\n\n": 0.02, "'s ": 0.02, " 1": 0.01}


def repeat(source: Path, target: Path, size_bytes: int) -> None:
    """Write a corpus file again and again, until there are `size_bytes` bytes."""
    data = source.read_bytes()
    with target.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(data)


def invent(target: Path, size_bytes: int, seed: int = 1) -> None:
    """Write documents of made-up words, as frequent as those of English.

    Word r is drawn in proportion to 1 / (r + 2.7) (Mandelbrot 1953), and beyond some thousand words the frequency falls
    twice as fast (Ferrer i Cancho and Solé 2001). New words keep coming, as in real text but not in repeated text.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    words = _lexicon(generator)
    rank = np.arange(len(words))
    cumulative = np.cumsum(1 / ((rank + 2.7) * (1 + rank / 6000)))
    ends = np.array(list(_ENDS), dtype=object)
    with target.open("wb") as file:
        while file.tell() < size_bytes:
            chosen = words[np.searchsorted(cumulative, generator.random(2**18) * cumulative[-1])]
            chosen[::12] = [word.capitalize() for word in chosen[::12]]
            text = "".join((chosen + generator.choice(ends, len(chosen), p=list(_ENDS.values()))).tolist())
            documents = [text[i : i + 3000].strip() for i in range(0, len(text), 3000)]
            file.write(b"".join(document.encode() + _SEPARATOR for document in documents))


def _lexicon(generator: np.random.Generator) -> NDArray[np.object_]:
    """Different words of syllables. The first words are short, because they will be frequent."""
    n_draws = 2 * _N_WORDS
    n_syllables = np.minimum(1 + generator.poisson(np.log10(np.arange(n_draws) + 1) / 4), 6)
    parts = [_draw(part, int(n_syllables.sum()), generator) for part in (_ONSETS, _VOWELS, _CODAS)]
    syllables = (parts[0] + parts[1] + parts[2]).tolist()
    ends = np.cumsum(n_syllables)
    words = ["".join(syllables[end - n : end]) for n, end in zip(n_syllables.tolist(), ends.tolist(), strict=True)]
    return np.array(list(dict.fromkeys(words))[:_N_WORDS], dtype=object)


def _draw(parts: list[str], count: int, generator: np.random.Generator) -> NDArray[np.object_]:
    weight = 1 / (np.arange(len(parts)) + 2)
    return generator.choice(np.array(parts, dtype=object), count, p=weight / weight.sum())
