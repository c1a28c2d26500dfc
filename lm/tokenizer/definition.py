"""Reads and writes tokenizer.json, the format of Hugging Face `tokenizers`, for our own tokenizers."""

import json
from collections.abc import Sequence
from typing import Any

from lm.tokenizer.alphabet import CHARACTER_OF_BYTE, spell, unspell

UNKNOWN = "\ufffd"  # Unicode's replacement character: the token of unknown characters

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_BYTE_LEVEL_DECODER = {**_BYTE_LEVEL, "add_prefix_space": True}
_CHARACTERS = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
_BPE = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}
_EMPTY = (None, False, "")  # values of an option that is off, or that an old file leaves out


def read(definition: str) -> dict[str, Any]:
    """The values of a tokenizer.json.

    Raises:
        ValueError: when the text is not a tokenizer.json.
    """
    try:
        values = json.loads(definition)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a tokenizer.json: {error}") from None
    if not isinstance(values, dict) or not isinstance(values.get("model"), dict):
        raise ValueError("not a tokenizer.json: must be an object with a 'model'")
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if not isinstance(values.get(part), dict | None):
            raise ValueError(f"{part}: must be an object or null, got {values[part]!r}")
    return values


def write_bpe(tokens: Sequence[bytes], pairs: Sequence[tuple[int, int]], special_tokens: dict[str, int]) -> str:
    """The tokenizer.json of byte-level BPE: byte for byte what Hugging Face's own trainer writes."""
    special = {id: token for token, id in special_tokens.items()}
    spelled = [special[id] if id in special else spell(token) for id, token in enumerate(tokens)]
    vocab = {token: id for id, token in enumerate(spelled)}
    merges = [[spelled[left], spelled[right]] for left, right in pairs]
    return _write(special_tokens, _BYTE_LEVEL, _BYTE_LEVEL_DECODER, {**_BPE, "vocab": vocab, "merges": merges})


def write_characters(tokens: Sequence[str], special_tokens: dict[str, int]) -> str:
    """The tokenizer.json of single characters and special tokens, by id."""
    model = {"type": "WordLevel", "vocab": {token: id for id, token in enumerate(tokens)}, "unk_token": UNKNOWN}
    return _write(special_tokens, _CHARACTERS, {"type": "Fuse"}, model)


def _write(special_tokens: dict[str, int], pre_tokenizer: Any, decoder: Any, model: Any) -> str:
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": id, "content": token, **options} for token, id in special_tokens.items()]
    values = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }
    return json.dumps(values, indent=2, ensure_ascii=False)


def is_bpe(values: dict[str, Any]) -> bool:
    """Whether a valid tokenizer.json is byte-level BPE that has all bytes as tokens and splits words like GPT-2."""
    model, splitter = values["model"], values.get("pre_tokenizer") or {}
    return (
        model.get("type", "BPE") == "BPE"
        and all(model.get(option) in _EMPTY for option, value in _BPE.items() if value in _EMPTY)
        and splitter.get("type") == "ByteLevel"
        and splitter.get("add_prefix_space") is False
        and splitter.get("use_regex", True) is True
        and _has_only_special_tokens(values)
        and all(character in model["vocab"] for character in CHARACTER_OF_BYTE)
        and read_special_tokens(values).keys().isdisjoint(_ordinary_tokens(model))
    )


def is_characters(values: dict[str, Any]) -> bool:
    """Whether a valid tokenizer.json makes each character a token, as `write_characters` does."""
    model = values["model"]
    return (
        model.get("type") == "WordLevel"
        and model.get("unk_token") == UNKNOWN
        and values.get("pre_tokenizer") == _CHARACTERS
        and _has_only_special_tokens(values)
    )


def read_bpe(values: dict[str, Any]) -> tuple[list[bytes], list[tuple[int, int]], dict[str, int]]:
    """Tokens by id, pairs in order and special tokens of a tokenizer.json for which `is_bpe` holds.

    Raises:
        ValueError: when ids are missing.
    """
    special_tokens = read_special_tokens(values)
    vocab: dict[str, int] = {**values["model"]["vocab"], **special_tokens}
    spelled = by_id(vocab)
    tokens = [token.encode() if token in special_tokens else unspell(token) for token in spelled]
    pairs: dict[tuple[int, int], None] = {}
    for left, right in map(pair_of, values["model"]["merges"]):
        pair = vocab[left], vocab[right]
        pairs.pop(pair, None)  # if a pair occurs twice, the later place counts
        pairs[pair] = None
    return tokens, list(pairs), special_tokens


def pair_of(merge: Any) -> Any:
    """The two tokens of a merge. Files from before 2024 hold them as one string, "a b"."""
    return merge.split(" ") if isinstance(merge, str) else merge


def by_id(vocab: dict[str, int]) -> list[str]:
    """The tokens of a vocabulary, by id.

    Raises:
        ValueError: when the ids are not 0, 1, 2, ...
    """
    token_of = {id: token for token, id in vocab.items()}
    missing = [id for id in range(len(vocab)) if id not in token_of]
    if missing:
        raise ValueError(
            f"model.vocab: must have each id from 0 to {len(vocab) - 1} once, got none with id {missing[0]}"
        )
    return [token_of[id] for id in range(len(vocab))]


def read_special_tokens(values: dict[str, Any]) -> dict[str, int]:
    """The ids of the special tokens of a tokenizer.json."""
    return {token["content"]: token["id"] for token in values.get("added_tokens") or []}


def _ordinary_tokens(model: dict[str, Any]) -> set[str]:
    """The tokens that byte-level BPE can give for ordinary text."""
    pairs = map(pair_of, model["merges"])
    return {*CHARACTER_OF_BYTE, *(left + right for left, right in pairs)}


def _has_only_special_tokens(values: dict[str, Any]) -> bool:
    """Whether all added tokens are special, and no option changes the text, the space around them, or the ids."""
    ending = values.get("post_processor") or {}
    added = values.get("added_tokens") or []
    return (
        values.get("normalizer") is None
        and ending.get("type", "ByteLevel") == "ByteLevel"
        and all(
            token["special"] and not any(token[option] for option in ("single_word", "lstrip", "rstrip"))
            for token in added
        )
        and len({token["normalized"] for token in added}) <= 1  # if they differ, the library finds one kind first
    )
