"""Tests of lm/tokenizer/library.py: tokenizers that are not ours, against the library itself."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from lm.config.special_tokens import END_OF_TEXT
from lm.corpus.text_file import BOUNDARY
from lm.tokenizer.library import LibraryTokenizer
from lm.tokenizer.load import parse_tokenizer

DOCUMENTS = ['The little fox said: "I\'m not afraid!" 12 eggs, 3 blue.', "the thin den, the thick den  été naïve"] * 4
LETTERS = [chr(code) for code in range(ord("!"), ord("~") + 1)]
SPECIALS = [END_OF_TEXT, "<|user|>"]

texts = st.lists(
    st.text(st.characters(codec="utf-8"))
    | st.sampled_from(
        [*SPECIALS, "<|ENDOFTEXT|>", "[UNK]", "<unk>", "<tab>", "the", " fox", " ", "\n", "é", "e\u0301", "🦊"]
    ),
    max_size=6,
).map("".join)


def word_piece() -> tokenizers.Tokenizer:
    """BERT's: lower case, without accents."""
    library = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer()
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]", *SPECIALS], show_progress=False)
    library.train_from_iterator(DOCUMENTS, trainer)
    library.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $0 {END_OF_TEXT}", special_tokens=[(END_OF_TEXT, library.token_to_id(END_OF_TEXT))]
    )
    return library


def unigram() -> tokenizers.Tokenizer:
    """T5's, whose model has the special tokens among its pieces."""
    pieces = [("<unk>", 0.0), (END_OF_TEXT, 0.0), ("<|user|>", 0.0), ("▁", -2.0), ("▁the", -3.0), ("fox", -4.0)]
    library = tokenizers.Tokenizer(models.Unigram([*pieces, *((letter, -6.0) for letter in LETTERS)], unk_id=0))
    library.normalizer = normalizers.NFKC()
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    library.add_special_tokens(["<unk>", *SPECIALS])
    return library


def word_level() -> tokenizers.Tokenizer:
    """Words between spaces; the special tokens are words too, also where a normalizer has made them."""
    words = ["[UNK]", *SPECIALS, "the", "fox", "said"]
    library = tokenizers.Tokenizer(models.WordLevel({word: id for id, word in enumerate(words)}, unk_token="[UNK]"))
    library.normalizer = normalizers.Lowercase()
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens(["[UNK]", *SPECIALS])
    return library


def byte_fallback() -> tokenizers.Tokenizer:
    """Llama's: characters, and bytes for those that are unknown."""
    tokens = ["<unk>", *SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *LETTERS, "th", "the", "▁the"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the")]
    library = tokenizers.Tokenizer(
        models.BPE({token: id for id, token in enumerate(tokens)}, merges, unk_token="<unk>", byte_fallback=True)
    )
    library.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    library.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    library.add_special_tokens(["<unk>", *SPECIALS])
    return library


def byte_level(**options: Any) -> tokenizers.Tokenizer:
    """GPT-2's, trained on a little text."""
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(**{"add_prefix_space": False} | options)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator(DOCUMENTS, trainer)
    return library


def prefix_space() -> tokenizers.Tokenizer:
    """A space before the first word, and an added token that is not special."""
    library = byte_level(add_prefix_space=True)
    library.add_tokens([AddedToken("<tab>", normalized=False)])
    return library


def other_split() -> tokenizers.Tokenizer:
    """Words cut as by GPT-4; a special token takes the space around it."""
    library = byte_level()
    pattern = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    )
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    library.add_special_tokens([AddedToken("<|user|>", lstrip=True, rstrip=True, normalized=False)])
    return library


def word_ends() -> tokenizers.Tokenizer:
    """CLIP's: the last part of a word carries a mark, which becomes the space after it where a word follows."""
    tokens = ["<unk>", *SPECIALS, *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "th", "the</w>"]
    library = tokenizers.Tokenizer(
        models.BPE(
            {token: id for id, token in enumerate(tokens)},
            [("t", "h"), ("th", "e</w>")],
            unk_token="<unk>",
            end_of_word_suffix="</w>",
        )
    )
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.decoder = decoders.BPEDecoder()
    library.add_special_tokens(["<unk>", *SPECIALS])
    return library


KINDS: list[Callable[[], tokenizers.Tokenizer]] = [
    word_piece, unigram, word_level, word_ends, byte_fallback, prefix_space, other_split,
]  # fmt: skip
MODEL_HAS_SPECIALS = (unigram, word_level)  # where the library gives a special token's id to text that looks like it
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@cache
def definition_of(kind: Callable[[], tokenizers.Tokenizer]) -> str:
    text: str = kind().to_str()
    return text


@cache
def ours(kind: Callable[[], tokenizers.Tokenizer]) -> LibraryTokenizer:
    tokenizer = parse_tokenizer(definition_of(kind))
    assert isinstance(tokenizer, LibraryTokenizer)
    return tokenizer


@cache
def theirs(kind: Callable[[], tokenizers.Tokenizer], *, special: bool = False) -> tokenizers.Tokenizer:
    library = tokenizers.Tokenizer.from_str(definition_of(kind))
    library.encode_special_tokens = not special
    return library


def ids_of(kind: Callable[[], tokenizers.Tokenizer], text: str, *, special: bool = False) -> list[int]:
    ids: list[int] = theirs(kind, special=special).encode(text, add_special_tokens=False).ids
    return ids


@kinds
@given(text=texts)
@example(text="")
@example(text="The fox said  12 eggs")
def test_the_ids_are_those_of_the_library(kind: Callable[[], tokenizers.Tokenizer], text: str) -> None:
    expected = ids_of(kind, text)
    if kind in MODEL_HAS_SPECIALS:  # those become the unknown token, the first here
        special = [ours(kind).special_tokens[token] for token in SPECIALS]
        expected = [0 if id in special else id for id in expected]
    assert ours(kind).encode(text) == expected


@kinds
@given(text=texts)
@example(text=f"the {END_OF_TEXT} fox")
@example(text="the <|ENDOFTEXT|> fox")
@example(text=f"{END_OF_TEXT}<|user|>")
def test_text_that_looks_like_a_special_token_is_text(kind: Callable[[], tokenizers.Tokenizer], text: str) -> None:
    ids = ours(kind).encode(text)
    assert not {ours(kind).special_tokens[token] for token in SPECIALS}.intersection(ids)
    assert ours(kind).encode_batch([text, "the", text]) == [ids, ids_of(kind, "the"), ids]


@kinds
@given(text=texts)
@example(text=f"the fox{END_OF_TEXT}")
@example(text=f" the <|user|> fox {END_OF_TEXT} the")
@example(text=f"{END_OF_TEXT}{END_OF_TEXT}")
def test_allowed_special_tokens_are_found_as_the_library_finds_them(
    kind: Callable[[], tokenizers.Tokenizer], text: str
) -> None:
    before = ours(kind).encode(f"{text} {END_OF_TEXT}")
    assert ours(kind).encode(text, allow_special=True) == ids_of(kind, text, special=True)
    assert ours(kind).encode(f"the{END_OF_TEXT}", allow_special=True)[-1] == ours(kind).end_id
    assert ours(kind).encode(f"{text} {END_OF_TEXT}") == before  # that call only


@kinds
@given(batch=st.lists(texts, max_size=4), allow_special=st.booleans())
@example(batch=["", "the fox", "", ""], allow_special=False)
def test_a_batch_is_encoded_as_its_texts_are(
    kind: Callable[[], tokenizers.Tokenizer], batch: list[str], allow_special: bool
) -> None:
    alone = [ours(kind).encode(text, allow_special=allow_special) for text in batch]
    assert ours(kind).encode_batch(batch, allow_special=allow_special) == alone


@kinds
@given(chunks=st.lists(texts, max_size=4))
def test_a_stream_is_encoded_as_the_whole_is(kind: Callable[[], tokenizers.Tokenizer], chunks: list[str]) -> None:
    for allow_special in (False, True):
        whole = ours(kind).encode("".join(chunks), allow_special=allow_special)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lm.tokenizer.tokenizer._STREAM_CHARACTERS", 1)
            assert list(ours(kind).encode_iterable(iter(chunks), allow_special=allow_special)) == whole


@kinds
@given(batch=st.lists(texts, max_size=4))
@example(batch=["", "the fox", "", f"{END_OF_TEXT} fox"])
def test_in_a_block_the_end_token_stands_at_the_end_of_each_text_and_nowhere_else(
    kind: Callable[[], tokenizers.Tokenizer], batch: list[str]
) -> None:
    tokenizer = ours(kind)
    block = tokenizer.encode_block(b"".join(text.encode() + BOUNDARY for text in batch))
    assert block.dtype == np.uint16
    assert block.tolist() == [id for text in batch for id in (*tokenizer.encode(text), tokenizer.end_id)]


@kinds
@given(data=st.data())
def test_ids_are_decoded_as_the_library_decodes_them(
    kind: Callable[[], tokenizers.Tokenizer], data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.integers(0, ours(kind).vocab_size - 1)))
    assert ours(kind).decode(ids) == theirs(kind).decode(ids, skip_special_tokens=False)
    assert ours(kind).decode(iter(ids)) == ours(kind).decode(ids)


@kinds
@given(data=st.data())
def test_ids_that_come_one_by_one_give_what_they_add_to_the_text_before_them(
    kind: Callable[[], tokenizers.Tokenizer], data: st.DataObject
) -> None:
    tokenizer = ours(kind)
    after, ids = (tokenizer.encode(data.draw(texts)) for _ in range(2))
    ids += data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    before, whole = (theirs(kind).decode(part, skip_special_tokens=False) for part in (after, after + ids))
    decoding = tokenizer.decoding(after)
    text = "".join(map(decoding.add, ids)) + decoding.rest(cut_off=False)
    if whole.startswith(before):
        assert text == whole[len(before) :]
    else:  # bytes that were a character and are none with those that follow
        assert kind is byte_fallback
        assert whole.endswith(text)
    assert "".join(tokenizer.decode_iterable(iter(ids))) == theirs(kind).decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("kind", [word_piece, unigram, word_level, byte_fallback], ids=lambda kind: kind.__name__)
def test_a_text_decoded_in_two_parts_keeps_the_space_between_them(kind: Callable[[], tokenizers.Tokenizer]) -> None:
    tokenizer, prompt = ours(kind), ours(kind).encode("the fox")
    said = tokenizer.encode("the fox the")[len(prompt) :]
    assert "".join(map(tokenizer.decoding(prompt).add, said)) == " the"
    assert tokenizer.decode(said) == "the"  # alone it has lost the space


@pytest.mark.parametrize("kind", [byte_fallback, prefix_space, other_split], ids=lambda kind: kind.__name__)
@given(text=texts.filter(lambda text: "�" not in text), n_left_out=st.integers(0, 3))
@example(text="été 🦊", n_left_out=1)
@example(text="🦊€", n_left_out=2)
def test_of_a_text_that_is_cut_off_the_whole_characters_are_shown(
    kind: Callable[[], tokenizers.Tokenizer], text: str, n_left_out: int
) -> None:
    tokenizer = ours(kind)
    ids = tokenizer.encode(text)
    decoding = tokenizer.decoding()
    shown = "".join(map(decoding.add, ids[: len(ids) - n_left_out])) + decoding.rest(cut_off=True)
    assert "�" not in shown
    assert tokenizer.decode(ids).startswith(shown)
    if n_left_out == 0:
        assert shown == tokenizer.decode(ids)


def test_the_pieces_of_a_text_are_what_its_tokens_add() -> None:
    def pieces(kind: Callable[[], tokenizers.Tokenizer], text: str) -> list[bytes]:
        return ours(kind).pieces(ours(kind).encode(text))

    assert pieces(word_level, "the fox said") == [b"the", b" fox", b" said"]
    assert pieces(unigram, "the fox!") == [b"the", b" ", b"fox", b"!"]
    assert pieces(word_ends, "the fox") == [b"the", b" f", b"o", b"x"]
    assert pieces(word_ends, "that") == [b"th", b"a", b"t"]
    assert pieces(byte_fallback, "the é") == [b"the", b" ", b"\xc3", b"\xa9"]
    assert pieces(prefix_space, "ü") == [b" ", b"\xc3", b"\xbc"]
    assert pieces(word_piece, "") == []


@kinds
@given(text=texts)
def test_the_pieces_together_are_the_text(kind: Callable[[], tokenizers.Tokenizer], text: str) -> None:
    ids = ours(kind).encode(text)
    assert b"".join(ours(kind).pieces(ids)).decode() == ours(kind).decode(ids)


def test_special_tokens_are_decoded_as_they_are_written() -> None:
    for kind in KINDS:
        assert ours(kind).decode([ours(kind).end_id]) == END_OF_TEXT
        assert ours(kind).token_bytes(ours(kind).end_id) == END_OF_TEXT.encode()
    tokenizer = ours(prefix_space)
    assert tokenizer.decode(tokenizer.encode(f"the fox{END_OF_TEXT}", allow_special=True)) == f" the fox{END_OF_TEXT}"


@kinds
@pytest.mark.parametrize("place", ["first", "last"])
def test_an_id_that_there_is_not_is_an_error(kind: Callable[[], tokenizers.Tokenizer], place: str) -> None:
    tokenizer = ours(kind)
    for id in (-1, tokenizer.vocab_size, 2**40):
        ids = [id, 1, 2] if place == "first" else [2, 1, id]
        with pytest.raises(ValueError, match=rf"^id: must be from 0 to {tokenizer.vocab_size - 1}, got {id}$"):
            tokenizer.decode(ids)
        with pytest.raises(ValueError, match=rf"got {id}$"):
            tokenizer.token_bytes(id)
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", [prefix_space, other_split, byte_fallback], ids=lambda kind: kind.__name__)
@given(text=texts.filter(lambda text: "<tab>" not in text and "▁" not in text))
@example(text="été 🦊")
def test_the_bytes_of_the_tokens_are_those_of_the_text(kind: Callable[[], tokenizers.Tokenizer], text: str) -> None:
    tokenizer = ours(kind)
    data = b"".join(tokenizer.token_bytes(id) for id in tokenizer.encode(text))
    puts_a_space = text and (kind is byte_fallback or (kind is prefix_space and text[0] != " "))
    assert data == (b" " if puts_a_space else b"") + text.encode()


def test_the_bytes_of_a_token_are_what_it_adds_to_a_text() -> None:
    def pieces(kind: Callable[[], tokenizers.Tokenizer], text: str) -> list[bytes]:
        return [ours(kind).token_bytes(id) for id in ours(kind).encode(text)]

    assert pieces(unigram, "the fox!") == [b" the", b" ", b"fox", b"!"]
    assert pieces(word_level, "the fox") == [b" the", b" fox"]
    assert b"".join(pieces(word_piece, "the little den.")) == b" the little den."
    assert len(pieces(word_piece, "thinden")) > 1
    assert b"".join(pieces(word_piece, "thinden")) == b" thinden"  # the pieces after the first have no space
    assert pieces(byte_fallback, "é") == [b" ", b"\xc3", b"\xa9"]
    assert pieces(prefix_space, "ü") == [b" ", b"\xc3", b"\xbc"]


def test_a_token_of_characters_that_stand_for_no_bytes_is_its_text() -> None:
    values = json.loads(definition_of(other_split))
    values["model"]["vocab"]["two words"] = 300
    assert parse_tokenizer(json.dumps(values)).token_bytes(300) == b"two words"


def test_added_tokens_that_are_not_special_are_found_in_any_text() -> None:
    tokenizer = ours(prefix_space)
    (tab,) = tokenizer.encode("<tab>")
    assert "<tab>" not in tokenizer.special_tokens
    assert tokenizer.token_bytes(tab) == b"<tab>"


@kinds
def test_another_process_gets_the_same_tokenizer(kind: Callable[[], tokenizers.Tokenizer]) -> None:
    again = pickle.loads(pickle.dumps(ours(kind)))
    assert (again.definition, again.special_tokens) == (ours(kind).definition, ours(kind).special_tokens)
    text = f"The little fox's den, 🦊{END_OF_TEXT}"
    assert again.encode_batch([text, ""]) == ours(kind).encode_batch([text, ""])


def test_another_process_encodes_alike() -> None:
    script = (
        "import pickle, sys; t, text = pickle.load(sys.stdin.buffer); print(t.encode(text), t.decode(t.encode(text)))"
    )
    for kind in (unigram, other_split):
        tokenizer = ours(kind)
        done = subprocess.run(
            [sys.executable, "-c", script], input=pickle.dumps((tokenizer, "the fox")), check=True, capture_output=True
        )
        ids = tokenizer.encode("the fox")
        assert done.stdout.decode().strip() == f"{ids} {tokenizer.decode(ids)}"


@pytest.mark.parametrize("allow_special", [False, True])
def test_half_of_a_surrogate_pair_is_an_error(allow_special: bool) -> None:
    with pytest.raises(UnicodeEncodeError):
        ours(unigram).encode("\ud83e", allow_special=allow_special)


def changed(kind: Callable[[], tokenizers.Tokenizer], **changes: Any) -> str:
    values = json.loads(definition_of(kind))
    for name, value in changes.items():
        holder = values if name in values else values["model"]
        holder[name] = value
    return json.dumps(values)


def test_dropout_truncation_and_padding_are_for_training_only() -> None:
    # Only with another split is it not ours, which has no dropout at all.
    restless = changed(
        other_split,
        dropout=0.5,
        truncation={"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 30}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 2, "pad_type_id": 0, "pad_token": "!",
        },
    )  # fmt: skip
    tokenizer = parse_tokenizer(restless)
    for text in DOCUMENTS:
        assert tokenizer.encode(text) == ours(other_split).encode(text)


def test_where_the_unknown_token_is_the_end_token_unknown_text_has_no_token() -> None:
    tokenizer = parse_tokenizer(changed(word_level, unk_token=END_OF_TEXT))
    assert tokenizer.encode_batch(["the hen the", "hen", ""]) == [[3, 3], [], []]
    assert tokenizer.encode_block(b"the hen\xffhen\xff").tolist() == [3, tokenizer.end_id, tokenizer.end_id]


def test_only_special_tokens_are_special() -> None:
    assert ours(prefix_space).special_tokens == {END_OF_TEXT: 0, "<|user|>": 1}
    values = json.loads(definition_of(unigram))
    for token in values["added_tokens"]:
        token["special"] = token["content"] != END_OF_TEXT
    with pytest.raises(ValueError, match=r"^must have the special token <\|endoftext\|>$"):
        parse_tokenizer(json.dumps(values))


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (changed(word_piece, vocab=[]), r"^not a tokenizer\.json: "),
        (changed(unigram, unk_id=1000), r"^not a tokenizer\.json: "),
        (changed(other_split, merges=[["t", "Q"]]), r"^merges\[0\]: must join two .*, got no token 'tQ'$"),
        (changed(other_split, merges=["t h", "t z z"]), r"^merges\[1\]: must be two tokens, got 't z z'$"),
        (changed(other_split, merges=[[1, 2]]), r"^merges\[0\]: must be two tokens, got \[1, 2\]$"),
        (changed(word_level, vocab={END_OF_TEXT: 0, "<|user|>": 1, "[UNK]": 2, "x": 4}), r"^model\.vocab: .* id 3$"),
    ],
)
def test_a_broken_file_is_one_clear_error(definition: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_tokenizer(definition)
    assert "\n" not in str(caught.value)
    assert not capfd.readouterr().err  # the library would tell of its panics there


def test_merges_of_word_parts_make_a_token_without_the_prefix() -> None:
    vocab = {END_OF_TEXT: 0, "[UNK]": 1, "a": 2, "##b": 3, "ab": 4}
    library = tokenizers.Tokenizer(models.BPE(vocab, [("a", "##b")], unk_token="[UNK]", continuing_subword_prefix="##"))
    library.add_special_tokens([END_OF_TEXT])
    assert parse_tokenizer(library.to_str()).encode("ab") == [4]


def test_text_without_a_token_is_one_clear_error() -> None:
    tokenizer = parse_tokenizer(changed(word_level, unk_token="<missing>"))
    assert tokenizer.encode("the fox") == [3, 4]
    with pytest.raises(ValueError, match=r"^model: WordLevel error: Missing \[UNK\] token"):
        tokenizer.encode("the hen")
