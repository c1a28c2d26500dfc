"""Tokenizers that others have made: from files, from `tiktoken`, from the Hugging Face hub."""

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import tiktoken

from lm.tokenizer.alphabet import spell
from lm.tokenizer.definition import read
from lm.tokenizer.hub import download, is_repository
from lm.tokenizer.library import open_library
from lm.tokenizer.load import parse_tokenizer
from lm.tokenizer.pretrained_files import PRETRAINED, check_encoding, pretrained_files
from lm.tokenizer.splitting import PATTERN
from lm.tokenizer.tokenizer import Tokenizer

_MOST_TOKENS = 2**16  # that ids of 16 bits can name

# Patterns that split text like GPT-2: ours, that of GPT-2's release, and tiktoken's own, which is faster.
_SAME_PATTERNS = (
    PATTERN,
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
)


def open_pretrained(
    source: str, special_tokens: Sequence[str], root: Path, *, place: str = PRETRAINED, to_train: bool = True
) -> Tokenizer:
    """The tokenizer of `source`: a path, a repository of the hub or an encoding of tiktoken. A path comes first.

    Special tokens that it lacks get the next free ids. If its vocabulary has one already, that becomes special and
    keeps its id. `place` is the parameter that names the source, for errors.

    Raises:
        ValueError: when there is no such tokenizer, or it is broken, or, with `to_train`, too large; when an encoding
            of tiktoken does not split text like GPT-2.
        ConnectionError: when the tokenizer could not be fetched.
    """
    if paths := pretrained_files(source, root, place):
        found = " and ".join(map(str, paths))
    elif is_repository(source):
        paths = download(source, place)
        found = f"{source}: {' and '.join(path.name for path in paths)}"
    else:
        check_encoding(source, place)
        found = f"{place}: {source}"
    try:
        definition = _read_files(paths) if paths else _read_encoding(source, place)
        tokenizer = parse_tokenizer(with_special_tokens(definition, special_tokens))
    except ValueError as error:
        raise ValueError(f"{found}: {error}") from None
    if to_train and tokenizer.vocab_size > _MOST_TOKENS:
        raise ValueError(
            f"{place}: must have at most {_MOST_TOKENS} tokens, because token files hold ids of 16 bits, "
            f"got {tokenizer.vocab_size} in {source!r}"
        )
    return tokenizer


def _read_files(paths: Sequence[Path]) -> str:
    """The tokenizer.json in one file, or made from merges.txt and vocab.json."""
    texts = [path.read_text(encoding="utf-8") for path in paths]
    if len(texts) == 1:
        return texts[0]
    try:
        vocab = json.loads(texts[1])
    except ValueError as error:
        raise ValueError(f"not valid JSON: {error}") from None
    lines = texts[0].split("\n")
    if lines[0].startswith("#version"):
        del lines[0]
    return _byte_level(vocab, [line.split(" ") for line in lines if line])


def _read_encoding(name: str, place: str) -> str:
    """The tokenizer.json of an encoding of tiktoken."""
    try:
        encoding = tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:  # no answer; a wrong answer
        reason = f"{type(error).__name__}; check the network and run again"
        raise ConnectionError(f"{place}: {name} could not be fetched by tiktoken: {reason}") from None
    if encoding._pat_str not in _SAME_PATTERNS:
        raise ValueError(f"must split text as GPT-2 does, got the pattern {encoding._pat_str}")
    ranks = encoding._mergeable_ranks
    vocab = {spell(token): rank for token, rank in ranks.items()}
    merged = sorted((token for token in ranks if len(token) > 1), key=ranks.__getitem__)
    merges = [[spell(part) for part in _halves(token, ranks)] for token in merged]
    return with_special_tokens(_byte_level(vocab | encoding._special_tokens, merges), encoding._special_tokens)


def _halves(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The two tokens that the last merge joins, when the bytes of a token are merged by rank, as tiktoken does.

    One pair per token is enough, because the bytes of a token are merged in the same order wherever it occurs.
    """
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        rank, i = min((ranks.get(left + right, ranks[token]), i) for i, (left, right) in enumerate(pairwise(parts)))
        if rank >= ranks[token]:
            raise ValueError(f"each token must be made of two tokens of lower rank, got {token!r}")
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def _byte_level(vocab: Any, merges: list[list[str]]) -> str:
    """The tokenizer.json of byte-level BPE that splits text as GPT-2 does."""
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": vocab, "merges": merges}
    decoder = {**split, "add_prefix_space": True}  # has no effect, but the library writes it
    return json.dumps({"version": "1.0", "pre_tokenizer": split, "decoder": decoder, "model": model})


def with_special_tokens(definition: str, special_tokens: Iterable[str]) -> str:
    """The tokenizer.json with more special tokens, as the library writes it."""
    library = open_library(read(definition), definition)
    declared = {token.content for token in library.get_added_tokens_decoder().values() if token.special}
    new = [token for token in special_tokens if token not in declared]
    vocab = library.get_vocab()
    merges = read(library.to_str())["model"].get("merges", [])
    merged = {token for pair in merges for token in (*pair, "".join(pair))}
    if ordinary := [token for token in new if token in vocab and (len(token) == 1 or token in merged)]:
        raise ValueError(f"tokenizer.special_tokens: must not be tokens of ordinary text too, got {ordinary}")
    library.add_special_tokens(new)
    return library.to_str(pretty=True)
