"""Tests of lm/tokenizer/inspection.py and commands/split.py."""

from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from commands import split
from lm.config.tokenizer import TokenizerConfig
from lm.tokenizer.counting import count_texts
from lm.tokenizer.inspection import (
    compression,
    geometric,
    length_histogram,
    longest_tokens,
    show_lines,
    show_merges,
    show_split,
    show_token,
    token_frequencies,
)
from lm.tokenizer.learning import learn_bpe
from lm.tokenizer.load import parse_tokenizer

WORDS = count_texts(["the hen and the fox", "the 狐 and\tthe hen"] * 3)
CONFIG = TokenizerConfig(
    kind="bpe",
    trainer="storyline",
    vocab_size=268,
    min_frequency=1,
    ties="huggingface",
    special_tokens=[],
    pretrained=None,
)
TOKENIZER = learn_bpe(WORDS, CONFIG)


def test_a_text_shows_its_tokens_with_bars_between_them() -> None:
    assert show_split(TOKENIZER, "the hen") == "the│ hen"
    assert show_split(TOKENIZER, "") == ""


def test_lines_show_the_tokens_that_the_whole_text_has() -> None:
    library = tokenizers.Tokenizer(models.WordLevel({"<|endoftext|>": 0, "▁the": 1, "fox": 2, "\n": 3}))
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Split("\n", "isolated")]
    )
    library.decoder = decoders.Metaspace()
    library.add_special_tokens(["<|endoftext|>"])
    assert show_lines(parse_tokenizer(library.to_str()), "the\nfox\n") == [r"the│\n", r"fox│\n"]  # alone it is ▁fox
    assert show_lines(TOKENIZER, "the hen\n\nthe") == [r"the│ hen│\n", r"\n", "the"]
    assert show_lines(TOKENIZER, "") == []


def test_bytes_of_cut_characters_and_line_breaks_show_as_escapes() -> None:
    assert show_split(TOKENIZER, "狗\n\t") == r"\xe7\x8b│\x97│\n│\t"  # 狐 begins with the same two bytes
    assert show_token(TOKENIZER, TOKENIZER.end_id) == "<|endoftext|>"


def test_merges_show_in_the_order_they_were_learned() -> None:
    # "th" and "he": 9 and "he" in "hen" too, 12 times; so he comes first, then t + he.
    assert show_merges(TOKENIZER, 0, 2) == ["h + e → he", "t + he → the"]
    assert len(show_merges(TOKENIZER, 0, 100)) == len(TOKENIZER.merges.pairs)


def test_the_longest_tokens_come_first() -> None:
    lengths = [len(TOKENIZER.token_bytes(id)) for id in longest_tokens(TOKENIZER, 5)]
    assert lengths == sorted((len(token) for token in TOKENIZER.tokens[1:]), reverse=True)[:5]


def test_compression_ends_at_that_of_the_tokenizer_and_starts_at_bytes() -> None:
    curve = compression(TOKENIZER, WORDS)
    text = "the hen and the fox" + "the 狐 and\tthe hen"
    n_tokens = sum(len(TOKENIZER.encode(part)) for part in ("the hen and the fox", "the 狐 and\tthe hen"))
    assert curve["vocab_size"][[0, -1]].tolist() == [257, TOKENIZER.vocab_size]
    assert curve["bytes_per_token"][0] == 1
    assert curve["bytes_per_token"][-1] == pytest.approx(len(text.encode()) / n_tokens, rel=1e-12)
    assert (np.diff(curve["bytes_per_token"]) > 0).all()


@pytest.mark.parametrize("vocab_size", [257, 260, 264])
def test_compression_at_a_smaller_size_is_what_a_tokenizer_of_that_size_gives(vocab_size: int) -> None:
    smaller = learn_bpe(WORDS, CONFIG.model_copy(update={"vocab_size": vocab_size}))
    curve = compression(TOKENIZER, WORDS)
    (at_size,) = curve["bytes_per_token"][curve["vocab_size"] == vocab_size]
    assert at_size == compression(smaller, WORDS)["bytes_per_token"][-1]


def test_frequencies_fall_with_rank_and_leave_out_what_never_occurs() -> None:
    curve = token_frequencies(np.array([0, 6, 1, 0, 3]))
    assert curve["rank"].tolist() == [1, 2, 3]
    assert curve["share"].tolist() == [0.6, 0.3, 0.1]
    assert len(token_frequencies(np.arange(50_000))["rank"]) <= 200


def test_every_document_is_in_one_bin() -> None:
    curve = length_histogram(np.array([1, 10, 10, 1000]))
    assert curve["documents"].sum() == 4
    assert 1 <= curve["tokens"].min() <= curve["tokens"].max() <= 1000
    assert {name: column.tolist() for name, column in length_histogram(np.array([7, 7])).items()} == {
        "tokens": [7.0],
        "documents": [2],
    }
    lengths = np.random.Generator(np.random.Philox(key=0)).integers(3, 5000, 1000)
    curve = length_histogram(lengths)
    counts, edges = np.histogram(np.log10(lengths), bins=40)
    assert curve["documents"].tolist() == counts.tolist()
    # Rounded down to a thousandth.
    np.testing.assert_allclose(curve["tokens"], 10 ** ((edges[1:] + edges[:-1]) / 2), rtol=0, atol=1.001e-3)


def test_whole_numbers_spaced_on_a_log_axis_are_exact() -> None:
    assert geometric(1, 10**6, 7) == [10**i for i in range(7)]
    assert geometric(3, 3, 5) == [3]
    assert geometric(1, 4, 200) == [1, 2, 3, 4]
    for first, last, count in ((1, 1791, 200), (7, 5001, 81), (1000, 320_000, 41)):
        found, floats = geometric(first, last, count), np.geomspace(first, last, count)
        assert (found[0], found[-1]) == (first, last)
        assert set(found) == {*np.floor(floats * (1 + 1e-13)).astype(int)}  # floats fall short of whole numbers


def test_the_command_shows_split_ids_and_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    split.main([str(tmp_path / "tokenizer.json"), "the hen"])
    ids = " ".join(map(str, TOKENIZER.encode("the hen")))
    assert capsys.readouterr().out == f"the│ hen\n{ids}\n2 tokens, 3.50 bytes each\n\n"


def test_the_command_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        split.main(["--help"])
    assert end.value.code == 0
    assert "commands.split [-h] tokenizer [texts ...]" in capsys.readouterr().out


def test_the_command_takes_texts_that_begin_with_a_hyphen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TOKENIZER.save(tmp_path / "tokenizer.json")
    split.main([str(tmp_path / "tokenizer.json"), "the", "--", "-the"])
    assert "-│the\n" in capsys.readouterr().out


def test_a_missing_tokenizer_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*tokenizer\.json: no such file$"):
        split.main([str(tmp_path / "tokenizer.json"), "text"])
