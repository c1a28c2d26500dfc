"""All kinds of tokenizers against Hugging Face and tiktoken on files of real text, where there are such."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from lm.corpus.text_file import read_documents
from lm.formats.tokens import TokenFile
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.counting import count_file, count_texts
from lm.tokenizer.encode_file import encode_file
from lm.tokenizer.learning import learn_bpe, learn_bpe_with_library, learn_characters
from tests.small import tokenizer_config

DATA = Path(__file__).parent.parent.parent.parent / "shared" / "data"
FILES = ["tinystories/train.txt", "owt/train.txt", "tales/tales.txt"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the texts in {DATA}")]
every_file = pytest.mark.parametrize("name", FILES)


@cache
def documents(name: str) -> list[str]:
    return list(read_documents(DATA / name))


@cache
def learned(name: str) -> BpeTokenizer:
    """A tokenizer of the usual size for such a text, learned from a third of it."""
    return learn_bpe(count_texts(documents(name)[::3]), tokenizer_config(vocab_size=8192))


@every_file
def test_the_ids_of_the_file_are_those_of_hugging_face_and_tiktoken(name: str, tmp_path: Path) -> None:
    ours = learned(name)
    assert ours.vocab_size == 8192
    encode_file(ours, DATA / name, tmp_path / "a.bin", tmp_path / "a.json", n_processes=1)
    ids = TokenFile(tmp_path / "a.bin", tmp_path / "a.json").ids
    theirs = tokenizers.Tokenizer.from_str(ours.definition)
    theirs.encode_special_tokens = True
    hugging_face = [[*encoding.ids, 0] for encoding in theirs.encode_batch_fast(documents(name))]
    assert np.array_equal(ids, np.concatenate(hugging_face))
    tiktokens = [[*ids, 0] for ids in ours.to_tiktoken().encode_ordinary_batch(documents(name))]
    assert np.array_equal(ids, np.concatenate(tiktokens))
    text = b"".join(ours.tokens[id] for id in ids.tolist()).decode()
    assert text == "<|endoftext|>".join([*documents(name), ""])


@every_file
def test_the_file_learned_from_is_byte_for_byte_what_hugging_faces_trainer_writes(name: str) -> None:
    config = tokenizer_config(vocab_size=8192)
    assert learned(name).definition == learn_bpe_with_library(documents(name)[::3], config).definition


def test_tokens_up_to_those_that_are_there_once_are_those_of_hugging_faces_trainer() -> None:
    # All pairs there are: many ties at every step, and none left at the end.
    config = tokenizer_config(vocab_size=65536)
    some = documents("owt/train.txt")[:50]
    ours = learn_bpe(count_texts(some), config)
    assert ours.vocab_size < 65536
    assert ours.definition == learn_bpe_with_library(some, config).definition


@every_file
def test_words_counted_by_two_processes_are_those_of_the_documents(name: str) -> None:
    config = tokenizer_config(vocab_size=2000)
    counted, whole = count_file(DATA / name, n_processes=2), count_texts(documents(name))
    assert counted.counts.sum() == whole.counts.sum()
    assert len(counted.counts) == len(whole.counts)
    assert learn_bpe(counted, config).definition == learn_bpe(whole, config).definition


@every_file
def test_characters_are_those_of_hugging_face(name: str) -> None:
    some = documents(name)[:100]
    ours = learn_characters(count_texts(documents(name)), tokenizer_config(kind="char", vocab_size=90))
    theirs = tokenizers.Tokenizer.from_str(ours.definition)
    assert ours.encode_batch(some) == [encoding.ids for encoding in theirs.encode_batch_fast(some)]
