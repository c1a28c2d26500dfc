"""Tokenizers learned from a corpus."""

from collections.abc import Callable, Iterable

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from lm.config.tokenizer import TokenizerConfig
from lm.tokenizer.alphabet import BYTES_IN_ORDER, CHARACTER_OF_BYTE, spell
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.counting import WordCounts
from lm.tokenizer.definition import UNKNOWN, read
from lm.tokenizer.merge_trainer import MergeTrainer


def learn_bpe(
    words: WordCounts, config: TokenizerConfig, progress: Callable[[int], object] = lambda n_tokens: None
) -> BpeTokenizer:
    """Byte-level BPE. With `ties` "huggingface", its tokenizer.json has the bytes that Hugging Face's trainer writes.

    A small corpus may give fewer tokens than `vocab_size`, because nothing is left to merge. `progress` is called with
    the number of new tokens.

    Raises:
        ValueError: when a special token is also a token of ordinary text, such as `a` or a merged word.
    """
    special_tokens = config.all_special_tokens
    _check_special_tokens(special_tokens, CHARACTER_OF_BYTE)
    # While ordinary tokens are learned, special tokens stand for no bytes.
    trainer = MergeTrainer(words, [b""] * len(special_tokens) + [bytes([byte]) for byte in BYTES_IN_ORDER], config.ties)
    order: dict[tuple[int, int], None] = {}
    if len(trainer.tokens) < config.vocab_size:
        for merge in trainer.merges(config.min_frequency):
            order.pop(merge.pair, None)  # the later place of a pair counts, as in Hugging Face's trainer
            order[merge.pair] = None
            progress(1)
            if len(trainer.tokens) == config.vocab_size:
                break
    tokens = [token.encode() for token in special_tokens] + trainer.tokens[len(special_tokens) :]
    _check_special_tokens(special_tokens, [spell(token) for token in tokens[len(special_tokens) :]])
    return BpeTokenizer(tokens, list(order), {token: id for id, token in enumerate(special_tokens)})


def learn_bpe_with_library(documents: Iterable[str], config: TokenizerConfig) -> BpeTokenizer:
    """Byte-level BPE as Hugging Face's `tokenizers` learns it.

    Raises:
        ValueError: when a special token is also a token of ordinary text.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=config.all_special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    definition = tokenizer.to_str(pretty=True)
    values = read(definition)
    merged = ["".join(pair) for pair in values["model"]["merges"]]
    _check_special_tokens(config.all_special_tokens, [*CHARACTER_OF_BYTE, *merged])
    return BpeTokenizer.read(values, definition)


def learn_characters(words: WordCounts, config: TokenizerConfig) -> CharacterTokenizer:
    """The most frequent characters, in the order of Unicode. Among equally frequent ones, the first are taken.

    Raises:
        ValueError: when a special token is a character.
    """
    codes = np.frombuffer(words.data.tobytes().decode().encode("utf-32-le"), dtype="<u4")
    is_first_byte = words.data & 0xC0 != 0x80
    frequency = np.zeros(0x110000, dtype=np.int64)
    np.add.at(frequency, codes, np.repeat(words.counts, words.lengths)[is_first_byte])
    frequency[ord(UNKNOWN)] = 0  # it always gets a place
    room = config.vocab_size - len(config.all_special_tokens) - 1
    by_frequency = np.argsort(-frequency, kind="stable")[:room]
    chosen = by_frequency[frequency[by_frequency] >= config.min_frequency]
    characters = [chr(code) for code in sorted([*chosen.tolist(), ord(UNKNOWN)])]
    _check_special_tokens(config.all_special_tokens, characters)
    special_tokens = {token: id for id, token in enumerate(config.all_special_tokens)}
    return CharacterTokenizer([*special_tokens, *characters], special_tokens)


def bytes_alone(config: TokenizerConfig) -> BpeTokenizer:
    """Bytes as tokens: byte-level BPE without merges."""
    special_tokens = config.all_special_tokens
    _check_special_tokens(special_tokens, CHARACTER_OF_BYTE)
    tokens = [token.encode() for token in special_tokens] + [bytes([byte]) for byte in BYTES_IN_ORDER]
    return BpeTokenizer(tokens, [], {token: id for id, token in enumerate(special_tokens)})


def _check_special_tokens(special_tokens: list[str], ordinary: Iterable[str]) -> None:
    if taken := set(special_tokens).intersection(ordinary):
        raise ValueError(f"tokenizer.special_tokens: must not be tokens of ordinary text too, got {sorted(taken)}")
