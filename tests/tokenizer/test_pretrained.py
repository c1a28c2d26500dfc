"""Tests of lm/tokenizer/pretrained.py and pretrained_files.py: files, encodings of tiktoken, and a hub on loopback."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import requests
import tiktoken.registry
import tokenizers
from hypothesis import example, given, reject
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.alphabet import unspell
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.definition import write_characters
from lm.tokenizer.library import LibraryTokenizer
from lm.tokenizer.load import load_tokenizer
from lm.tokenizer.pretrained import open_pretrained
from lm.tokenizer.pretrained_files import pretrained_files
from lm.tokenizer.pretrained_inputs import list_pretrained
from lm.tokenizer.splitting import PATTERN
from lm.tokenizer.tokenizer import Tokenizer
from tests.corpus.hub_server import Fault, Hub, serve

DOCUMENTS = ['The little fox said: "I\'m not afraid!" 12 eggs, 3 blue.', "the thin den, the thick den  été naïve"] * 4
TIKTOKEN_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4_PATTERN = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s+"

texts = st.lists(
    st.text(st.characters(codec="utf-8"))
    | st.sampled_from([END_OF_TEXT, "<|user|>", "the", " the", "'ll", " ", "   ", "\n", "12", "é"]),
    max_size=6,
).map("".join)


@cache
def trained() -> str:
    """The tokenizer.json of a little GPT-2: 256 bytes, 44 merges, and the end token at the end, in the vocabulary."""
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(DOCUMENTS, trainer)
    values = json.loads(library.to_str())
    values["model"]["vocab"][END_OF_TEXT] = 300
    return json.dumps(values)


def model_of(definition: str) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(definition)["model"]
    return model


def vocab_and_merges() -> dict[str, str]:
    """The same in GPT-2's two files."""
    model = model_of(trained())
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    return {"vocab.json": json.dumps(model["vocab"]), "merges.txt": "".join(f"{line}\n" for line in lines)}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def opened(source: str | Path, root: Path, *further: str) -> Tokenizer:
    """What a source gives; it must come back from its file and be the same to the library."""
    tokenizer = open_pretrained(str(source), [END_OF_TEXT, *further], root)
    tokenizer.save(root / "saved" / "tokenizer.json")
    again = load_tokenizer(root / "saved" / "tokenizer.json")
    assert type(again) is type(tokenizer)
    assert again.definition == tokenizer.definition
    assert (again.vocab_size, again.special_tokens) == (tokenizer.vocab_size, tokenizer.special_tokens)
    theirs = tokenizers.Tokenizer.from_file(str(root / "saved" / "tokenizer.json"))
    assert theirs.get_vocab_size() == tokenizer.vocab_size
    for token, id in tokenizer.special_tokens.items():
        assert theirs.token_to_id(token) == id
        assert tokenizer.token_bytes(id) == token.encode()
        assert id not in tokenizer.encode(f"{token} the fox {token}")
    for text in (*DOCUMENTS, "", f"the {END_OF_TEXT}{END_OF_TEXT} fox"):
        for allow_special in (False, True):
            theirs.encode_special_tokens = not allow_special
            expected = theirs.encode(text, add_special_tokens=False).ids
            assert again.encode(text, allow_special=allow_special) == expected
    return tokenizer


def refused(source: str | Path, root: Path, *further: str, by: type[Exception] = ValueError) -> str:
    """The one line that says why a source gives nothing."""
    with pytest.raises(by) as caught:
        open_pretrained(str(source), [END_OF_TEXT, *further], root)
    message = str(caught.value)
    assert "\n" not in message
    assert " at 0x" not in message
    return message


# Files


def test_a_path_is_a_file_or_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "folder", {"tokenizer.json": trained()})
    write(tmp_path, {"other name": trained()})
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = opened("folder", tmp_path)
    assert isinstance(expected, BpeTokenizer)
    assert expected.encode("the") == [model_of(trained())["vocab"]["the"]]
    for source in ("folder/tokenizer.json", "folder/", "./folder", "other name", "~/folder", tmp_path / "folder"):
        assert opened(source, tmp_path).definition == expected.definition


def test_a_path_comes_before_a_name(tmp_path: Path) -> None:
    for name in ("gpt2", "owner/name"):
        write(tmp_path / name, {"tokenizer.json": trained()})
        assert opened(name, tmp_path).vocab_size == 301


def test_vocab_json_and_merges_txt_are_byte_level_bpe(tmp_path: Path) -> None:
    folder = write(tmp_path / "gpt2", vocab_and_merges())
    tokenizer = opened("gpt2", tmp_path)
    assert isinstance(tokenizer, BpeTokenizer)
    assert tokenizer.end_id == 300
    assert tokenizer.definition == opened(write(tmp_path / "one", {"tokenizer.json": trained()}), tmp_path).definition
    theirs = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    for text in DOCUMENTS:
        assert tokenizer.encode(text) == theirs.encode(text).ids


def test_a_tokenizer_json_comes_before_the_other_files(tmp_path: Path) -> None:
    larger = json.loads(trained())
    larger["model"]["vocab"]["of tokenizer.json"] = 301
    write(tmp_path, {**vocab_and_merges(), "tokenizer.json": json.dumps(larger)})
    assert [path.name for path in pretrained_files(".", tmp_path)] == ["tokenizer.json"]
    with pytest.raises(ValueError, match=r"tokenizer\.json: must consist of characters that stand for bytes"):
        open_pretrained(".", [END_OF_TEXT], tmp_path)


@pytest.mark.parametrize("first_line", ["#version: 0.2\n", "", "#version\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_merges_begin_after_the_version_and_end_with_the_file(
    tmp_path: Path, first_line: str, newline: str, end: str
) -> None:
    vocab = model_of(trained())["vocab"] | {"#!": 301, "#!!": 302}
    merges = [("#", "!"), *model_of(trained())["merges"], ("#!", "!")]  # these lines are no comments
    write(tmp_path, {"vocab.json": json.dumps(vocab)})
    text = first_line + "\n".join(" ".join(pair) for pair in merges) + end
    (tmp_path / "merges.txt").write_bytes(text.replace("\n", newline).encode())
    tokenizer = opened(".", tmp_path)
    assert tokenizer.encode("the") == [vocab["the"]]
    assert tokenizer.encode("#!!") == [302]


def test_the_files_of_a_source(tmp_path: Path) -> None:
    write(tmp_path / "one", {"tokenizer.json": "{}", "config.json": "{}"})
    write(tmp_path / "two", vocab_and_merges())
    write(tmp_path / "none", {"vocab.json": "{}"})
    assert pretrained_files("one", tmp_path) == [tmp_path / "one" / "tokenizer.json"]
    assert pretrained_files(str(tmp_path / "one" / "config.json"), Path()) == [tmp_path / "one" / "config.json"]
    assert pretrained_files("two", tmp_path) == [tmp_path / "two" / "merges.txt", tmp_path / "two" / "vocab.json"]
    for name in ("gpt2", "owner/name", "~nobody-of-this-name/x", "a" * 5000, "a\0b"):
        assert pretrained_files(name, tmp_path) == []
    message = (
        f"tokenizer.pretrained: must hold tokenizer.json, or merges.txt and vocab.json, got {str(tmp_path / 'none')!r}"
    )
    assert refused("none", tmp_path) == message
    with pytest.raises(ValueError, match=r"^tokenizer\.pretrained: must hold "):
        pretrained_files("none", tmp_path)


def bpe(**changes: Any) -> str:
    values = json.loads(trained())
    return json.dumps(values | {"model": values["model"] | changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a tokenizer.json: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "not a tokenizer.json: must be an object with a 'model'"),
        ('{"a": 1}', "not a tokenizer.json: must be an object with a 'model'"),
        ('{"model": {}}', "not a tokenizer.json: "),
        (bpe(type="Markov"), "not a tokenizer.json: "),
        (bpe(merges=[["t", "Q"]]), "merges[0]: must join two tokens to a token, got no token 'tQ'"),
        (bpe(merges=["t h", "t h e"]), "merges[1]: must be two tokens, got 't h e'"),
        (
            bpe(vocab=model_of(trained())["vocab"] | {"<x>": 999}),
            "model.vocab: must have each id from 0 to 301 once, got ",
        ),
        (json.dumps(json.loads(trained()) | {"added_tokens": [{"content": "x"}]}), "not a tokenizer.json: "),
        (
            json.dumps(json.loads(trained()) | {"pre_tokenizer": "x"}),
            "pre_tokenizer: must be an object or null, got 'x'",
        ),
    ],
)
def test_a_broken_tokenizer_json_is_one_clear_error(
    tmp_path: Path, text: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"tok.json": text})
    assert refused("tok.json", tmp_path).startswith(f"{tmp_path / 'tok.json'}: {message}")
    assert not capfd.readouterr().err


def test_a_binary_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\xff\xfe")
    assert refused("tokenizer.model", tmp_path).startswith(f"{tmp_path / 'tokenizer.model'}: 'utf-8' codec")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("vocab.json", "{", "not valid JSON: "),
        ("vocab.json", "[1]", "not a tokenizer.json: "),
        ("vocab.json", json.dumps({"a": "b"}), "merges[0]: "),
        ("vocab.json", json.dumps(model_of(trained())["vocab"] | {"<pad>": 400}), "model.vocab: must have each id "),
        ("vocab.json", json.dumps(model_of(trained())["vocab"] | {"<pad>": 2.5}), "not a tokenizer.json: "),
        ("vocab.json", json.dumps(model_of(trained())["vocab"] | {"two words": 301}), "must consist of characters "),
        ("merges.txt", "#version: 0.2\nt h\nt h e\n", "merges[1]: must be two tokens, got ['t', 'h', 'e']"),
        (
            "merges.txt",
            "#version: 0.2\nt Q\n",
            "merges[0]: must join two tokens to a token, got no token 'tQ'",
        ),
    ],
)
def test_broken_files_of_gpt2_are_one_clear_error(
    tmp_path: Path, name: str, text: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {**vocab_and_merges(), name: text})
    place = f"{tmp_path / 'merges.txt'} and {tmp_path / 'vocab.json'}"
    assert refused(".", tmp_path).startswith(f"{place}: {message}")
    assert not capfd.readouterr().err


# Special tokens


def test_special_tokens_that_are_missing_get_the_next_ids(tmp_path: Path) -> None:
    write(tmp_path, vocab_and_merges())
    tokenizer = opened(".", tmp_path, "<|user|>", "<|début|>")
    assert tokenizer.special_tokens == {END_OF_TEXT: 300, "<|user|>": 301, "<|début|>": 302}
    assert tokenizer.vocab_size == 303
    without_end = {token: id for token, id in model_of(trained())["vocab"].items() if token != END_OF_TEXT}
    write(tmp_path, {"vocab.json": json.dumps(without_end)})
    assert opened(".", tmp_path, "<|user|>").special_tokens == {END_OF_TEXT: 300, "<|user|>": 301}


def test_a_token_of_the_vocabulary_becomes_special_with_its_id(tmp_path: Path) -> None:
    vocab = model_of(trained())["vocab"] | {"<|user|>": 301, "<pad>": 302}
    write(tmp_path, vocab_and_merges() | {"vocab.json": json.dumps(vocab)})
    tokenizer = opened(".", tmp_path, "<|bot|>", "<|user|>")
    assert tokenizer.special_tokens == {END_OF_TEXT: 300, "<|user|>": 301, "<|bot|>": 303}
    assert tokenizer.token_bytes(302) == b"<pad>"


def test_added_tokens_keep_their_ids_and_become_special_when_asked_for(tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_str(trained())
    library.add_special_tokens(["<s>", AddedToken("<mask>", lstrip=True)])
    library.add_tokens([AddedToken("<tab>"), AddedToken("<|user|>", rstrip=True)])
    write(tmp_path, {"tok.json": library.to_str()})
    tokenizer = opened("tok.json", tmp_path, "<s>", "<|user|>", "<mask>")
    assert tokenizer.special_tokens == {END_OF_TEXT: 300, "<s>": 301, "<mask>": 302, "<|user|>": 304}
    assert tokenizer.encode("a<tab> <mask>b", allow_special=True)[1:3] == [303, 302]  # <mask> still takes the space
    assert tokenizer.encode("<|user|>") != [304]


def test_a_file_that_has_all_special_tokens_is_not_changed(tmp_path: Path) -> None:
    write(tmp_path, vocab_and_merges())
    first = opened(".", tmp_path, "<|user|>")
    first.save(tmp_path / "first.json")
    assert opened("first.json", tmp_path, "<|user|>").sha256 == first.sha256
    assert opened("first.json", tmp_path).sha256 == first.sha256


@pytest.mark.parametrize("token", ["the", "th", "e", "Ġthe", "é"])  # é is the character of a byte
def test_a_special_token_that_text_yields_is_refused(tmp_path: Path, token: str) -> None:
    write(tmp_path, {"tok.json": trained()})
    assert refused("tok.json", tmp_path, "<|user|>", token) == (
        f"{tmp_path / 'tok.json'}: tokenizer.special_tokens: must not be tokens of ordinary text too, got {[token]}"
    )


def test_ids_of_added_tokens_are_those_that_the_library_gives_them(tmp_path: Path) -> None:
    # A file by hand may say otherwise: the library passes over the ids of added tokens and numbers them on.
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": 302, "content": "<|user|>", **options}, {"id": 301, "content": "<|bot|>", **options}]
    write(tmp_path, {"tok.json": json.dumps(json.loads(trained()) | {"added_tokens": added})})
    assert opened("tok.json", tmp_path).special_tokens == {END_OF_TEXT: 300, "<|user|>": 301, "<|bot|>": 302}


# Other kinds of tokenizers


def test_files_from_before_2024_are_read(tmp_path: Path) -> None:
    # As GPT-2's own on the hub: no type, merges as text, options that are off as empty strings.
    values = json.loads(trained())
    vocab, merges = values["model"]["vocab"], [" ".join(pair) for pair in values["model"]["merges"]]
    values["model"] = {"continuing_subword_prefix": "", "end_of_word_suffix": "", "vocab": vocab, "merges": merges}
    del values["pre_tokenizer"]["use_regex"]
    write(tmp_path, {"old.json": json.dumps(values), "new.json": trained()})
    old, new = opened("old.json", tmp_path), opened("new.json", tmp_path)
    assert isinstance(old, BpeTokenizer)
    assert merges_and_ids(old) == merges_and_ids(new)


def test_a_tokenizer_of_another_kind_is_the_librarys(tmp_path: Path) -> None:
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    pieces = [("<unk>", 0.0), ("▁", -2.0), ("▁the", -3.0), *((letter, -6.0) for letter in letters)]
    library = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0))
    library.pre_tokenizer, library.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    write(tmp_path, {"tok.json": library.to_str()})
    tokenizer = opened("tok.json", tmp_path, "<|user|>")
    assert isinstance(tokenizer, LibraryTokenizer)
    assert tokenizer.special_tokens == {END_OF_TEXT: len(pieces), "<|user|>": len(pieces) + 1}
    assert tokenizer.encode("the") == [2]


def test_characters_stay_characters(tmp_path: Path) -> None:
    write(tmp_path, {"tok.json": write_characters([*" aehnt", "\ufffd"], {END_OF_TEXT: 0, "<|user|>": 1})})
    tokenizer = opened("tok.json", tmp_path, "<|user|>")
    assert isinstance(tokenizer, CharacterTokenizer)
    assert tokenizer.decode(tokenizer.encode("the hen, then")) == "the hen\ufffd then"


def test_what_is_for_training_only_is_not_kept(tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_str(trained())
    library.model.dropout = 0.5
    library.enable_truncation(3)
    library.enable_padding(length=40)
    write(tmp_path, {"one.json": trained(), "two.json": library.to_str()})
    assert opened("two.json", tmp_path).definition == opened("one.json", tmp_path).definition


def test_ids_must_fit_token_files(tmp_path: Path) -> None:
    def words(n: int) -> str:
        library = tokenizers.Tokenizer(models.WordLevel({f"w{id}": id for id in range(n)}, unk_token="w0"))
        library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        text: str = library.to_str()
        return text

    write(tmp_path, {"most.json": words(2**16 - 1), "more.json": words(2**16)})
    assert open_pretrained("most.json", [END_OF_TEXT], tmp_path).end_id == 2**16 - 1
    assert refused("more.json", tmp_path) == (
        "tokenizer.pretrained: must have at most 65536 tokens, because token files hold ids of 16 bits, got 65537 in "
        "'more.json'"
    )


# Encodings of tiktoken


def ranks_of(definition: str) -> dict[bytes, int]:
    return {unspell(token): id for token, id in model_of(definition)["vocab"].items() if token != END_OF_TEXT}


@contextmanager
def tiny(
    ranks: dict[bytes, int], special: dict[str, int], pattern: str = TIKTOKEN_PATTERN
) -> Iterator[tiktoken.Encoding]:
    """An encoding that tiktoken knows by the name of tiny."""
    tiktoken.list_encoding_names()  # finds the others first
    values = {"name": "tiny", "pat_str": pattern, "mergeable_ranks": ranks, "special_tokens": special}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiktoken.registry.ENCODING_CONSTRUCTORS or {}, "tiny", lambda: values)
        patch.setattr(tiktoken.registry, "ENCODINGS", {})
        yield tiktoken.get_encoding("tiny")


@pytest.mark.parametrize("pattern", [TIKTOKEN_PATTERN, GPT2_PATTERN, PATTERN], ids=["tiktoken", "gpt2", "ours"])
def test_an_encoding_of_tiktoken_is_a_name(tmp_path: Path, pattern: str) -> None:
    with tiny(ranks_of(trained()), {END_OF_TEXT: 300, "<|fim|>": 301}, pattern):
        tokenizer = opened("tiny", tmp_path, "<|user|>")
    assert isinstance(tokenizer, BpeTokenizer)
    assert tokenizer.special_tokens == {END_OF_TEXT: 300, "<|fim|>": 301, "<|user|>": 302}
    write(tmp_path, vocab_and_merges())
    assert merges_and_ids(opened(".", tmp_path, "<|fim|>", "<|user|>")) == merges_and_ids(tokenizer)


def merges_and_ids(tokenizer: Tokenizer) -> tuple[list[list[str]], dict[str, int]]:
    ids: dict[str, int] = tokenizers.Tokenizer.from_str(tokenizer.definition).get_vocab()
    return model_of(tokenizer.definition)["merges"], ids


def test_an_encoding_without_an_end_token_gets_one(tmp_path: Path) -> None:
    with tiny(ranks_of(trained()), {}):
        assert opened("tiny", tmp_path).special_tokens == {END_OF_TEXT: 300}


def test_an_encoding_of_ours_comes_back(tmp_path: Path) -> None:
    write(tmp_path, vocab_and_merges())
    first = opened(".", tmp_path, "<|user|>")
    assert isinstance(first, BpeTokenizer)
    encoding = first.to_tiktoken()
    with tiny(encoding._mergeable_ranks, encoding._special_tokens, encoding._pat_str):
        assert merges_and_ids(opened("tiny", tmp_path)) == merges_and_ids(first)


@cache
def with_runs_of_spaces() -> tuple[Tokenizer, tiktoken.Encoding]:
    """As in p50k_base: after the end token, ids for two to 25 spaces."""
    ranks = ranks_of(trained()) | {b" " * n: 299 + n for n in range(2, 26)}
    with tiny(ranks, {END_OF_TEXT: 300}) as encoding:
        return open_pretrained("tiny", [END_OF_TEXT], Path()), encoding


@given(text=texts | st.text(" \nx", max_size=80))
@example(text="".join(f"{' ' * n}x" for n in range(60)))
def test_the_ids_are_those_of_tiktoken(text: str) -> None:
    tokenizer, encoding = with_runs_of_spaces()
    assert isinstance(tokenizer, BpeTokenizer)
    assert tokenizer.encode(text) == encoding.encode_ordinary(text)
    assert tokenizer.encode(text, allow_special=True) == encoding.encode(text, allowed_special="all")


ALPHABET = {bytes([byte]): byte for byte in range(256)}


@given(
    pairs=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12),
    words=st.lists(st.text("ab", max_size=40), max_size=4),
)
def test_any_ranks_give_the_ids_of_tiktoken_or_are_refused(pairs: list[tuple[int, int]], words: list[str]) -> None:
    tokens = [b"a", b"b"]
    for left, right in pairs:
        token = tokens[left % len(tokens)] + tokens[right % len(tokens)]
        if token not in tokens:
            tokens.append(token)
    ranks = ALPHABET | {token: 256 + i for i, token in enumerate(tokens[2:])}
    with tiny(ranks, {END_OF_TEXT: len(ranks)}) as encoding:
        try:
            tokenizer = open_pretrained("tiny", [END_OF_TEXT], Path())
        except ValueError:
            reject()
    for text in (*words, *(token.decode() for token in tokens)):
        assert tokenizer.encode(text) == encoding.encode_ordinary(text)


def test_a_token_that_its_ranks_never_yield_is_refused(tmp_path: Path) -> None:
    # tiktoken has this one for the whole word alone: within it, "bc" comes before "ab", and "a" + "bc" is no token.
    with tiny(ALPHABET | {b"bc": 256, b"ab": 257, b"abcd": 258}, {END_OF_TEXT: 259}):
        assert refused("tiny", tmp_path) == (
            "tokenizer.pretrained: tiny: each token must be made of two tokens of lower rank, got b'abcd'"
        )


def test_an_encoding_that_splits_in_another_way_is_refused(tmp_path: Path) -> None:
    with tiny(ranks_of(trained()), {END_OF_TEXT: 300}, GPT4_PATTERN):
        assert refused("tiny", tmp_path) == (
            f"tokenizer.pretrained: tiny: must split text as GPT-2 does, got the pattern {GPT4_PATTERN}"
        )


def test_an_encoding_with_gaps_between_its_ids_is_refused(tmp_path: Path) -> None:
    with tiny(ranks_of(trained()), {END_OF_TEXT: 400}):
        assert refused("tiny", tmp_path).startswith("tokenizer.pretrained: tiny: model.vocab: must have each id ")
    with tiny({token: rank for token, rank in ranks_of(trained()).items() if token != b"t"}, {}):
        assert refused("tiny", tmp_path).startswith("tokenizer.pretrained: tiny: merges[")


def no_connection(url: str) -> requests.Response:
    raise requests.ConnectionError(f"HTTPSConnectionPool(host='x'): {url} <urllib3.connection object at 0x7f001>\nno")


def not_found(url: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response.url = 404, url
    return response


def something_else(url: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response._content = 200, b"<html>log in to this network</html>"
    return response


@pytest.mark.parametrize("name", ["gpt2", "p50k_base"])
@pytest.mark.parametrize(
    ("get", "reason"), [(no_connection, "ConnectionError"), (not_found, "HTTPError"), (something_else, "ValueError")]
)
def test_a_download_of_tiktoken_that_fails_is_one_clear_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    get: Callable[[str], requests.Response],
    reason: str,
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    assert refused(name, tmp_path, by=ConnectionError) == (
        f"tokenizer.pretrained: {name} could not be fetched by tiktoken: {reason}; check the network and run again"
    )


# The hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that HF_ENDPOINT points to, with an empty cache."""
    with serve() as hub:
        monkeypatch.setenv("HF_ENDPOINT", f"{hub.endpoint}/")
        for name, value in {
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_TOKEN_PATH": str(tmp_path / "token"),
            "AGENT_HARNESSES_PATH": str(tmp_path / "agents"),
            "HF_HUB_OFFLINE": False,
        }.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        huggingface_hub.close_session()  # with the proxies and connections of others
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the attempts of the hub's client
        yield hub


def commit(hub: Hub, files: dict[str, str]) -> None:
    hub.repository("owner/name").commit({name: text.encode() for name, text in files.items()})


def test_a_repository_of_the_hub_is_a_name(hub: Hub, tmp_path: Path) -> None:
    commit(hub, {"tokenizer.json": trained(), "vocab.json": "{}", "README.md": ""})
    tokenizer = opened("owner/name", tmp_path, "<|user|>")
    write(tmp_path, {"tok.json": trained()})
    assert tokenizer.definition == opened("tok.json", tmp_path, "<|user|>").definition
    assert {request.path for request in hub.requests if "/owner/" in request.path} == {
        "/owner/name/resolve/main/tokenizer.json"
    }


def test_the_list_of_inputs_names_the_files_of_a_repository(hub: Hub, tmp_path: Path) -> None:
    commit(hub, {"tokenizer.json": trained()})
    first = list_pretrained(["owner/name"], tmp_path)
    assert [entry["name"] for entry in first] == ["tokenizer.json"]
    write(tmp_path, {"tokenizer.json": trained()})
    assert first == list_pretrained(["."], tmp_path)
    assert list_pretrained(["gpt2"], tmp_path) == []  # an encoding of tiktoken, which never changes
    commit(hub, {"tokenizer.json": trained().replace("{", "{ ", 1)})
    assert list_pretrained(["owner/name"], tmp_path) != first


def test_a_repository_may_hold_the_files_of_gpt2(hub: Hub, tmp_path: Path) -> None:
    commit(hub, vocab_and_merges())
    write(tmp_path, vocab_and_merges())
    assert opened("owner/name", tmp_path).definition == opened(".", tmp_path).definition


@pytest.mark.parametrize("layout", ["tokenizer.json", "vocab.json and merges.txt"])
def test_what_was_fetched_once_is_there_offline(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    commit(hub, {"tokenizer.json": trained()} if layout == "tokenizer.json" else vocab_and_merges())
    first = opened("owner/name", tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    n_requests = len(hub.requests)
    assert opened("owner/name", tmp_path).definition == first.definition
    assert len(hub.requests) == n_requests


def test_offline_without_the_files_is_one_clear_error(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(hub, {"tokenizer.json": trained()})
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = refused("owner/name", tmp_path, by=ConnectionError)
    assert message.startswith(could_not_be_fetched(hub))
    assert "HF_HUB_OFFLINE" in message


def could_not_be_fetched(hub: Hub) -> str:
    return f"tokenizer.pretrained: owner/name is not a path here and could not be fetched from {hub.endpoint}: "


def test_no_such_repository_is_one_clear_error(hub: Hub, tmp_path: Path) -> None:
    assert refused("owner/name", tmp_path, by=ConnectionError) == could_not_be_fetched(hub) + (
        "no such repository; if it is private, log in with `hf auth login` or set HF_TOKEN"
    )


def test_a_gated_repository_is_one_clear_error(hub: Hub, tmp_path: Path) -> None:
    commit(hub, {"tokenizer.json": trained()})
    hub.repository("owner/name").gated = True
    assert refused("owner/name", tmp_path, by=ConnectionError) == could_not_be_fetched(hub) + (
        f"accept its terms at {hub.endpoint}/owner/name, then log in with `hf auth login` or set HF_TOKEN"
    )


def test_a_repository_without_a_tokenizer_is_one_clear_error(hub: Hub, tmp_path: Path) -> None:
    commit(hub, {"README.md": "", "vocab.json": "{}"})
    assert refused("owner/name", tmp_path) == (
        "tokenizer.pretrained: must hold tokenizer.json, or merges.txt and vocab.json, got 'owner/name'"
    )


def test_a_hub_that_fails_is_one_clear_error_and_never_another_file(hub: Hub, tmp_path: Path) -> None:
    commit(hub, {"tokenizer.json": trained()} | vocab_and_merges())
    hub.faults.append(Fault("tokenizer.json", times=1000, status=503))
    assert refused("owner/name", tmp_path, by=ConnectionError) == could_not_be_fetched(hub) + "HTTP 503"
    hub.faults.clear()
    assert opened("owner/name", tmp_path).vocab_size == 301


def test_no_hub_is_one_clear_error(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    message = refused("owner/name", tmp_path, by=ConnectionError)
    assert message.startswith("tokenizer.pretrained: owner/name is not a path here and could not be fetched from http")


def test_a_broken_file_of_a_repository_is_named(hub: Hub, tmp_path: Path) -> None:
    commit(hub, {"tokenizer.json": "{"})
    assert refused("owner/name", tmp_path).startswith("owner/name: tokenizer.json: not a tokenizer.json: ")
    commit(hub, vocab_and_merges() | {"vocab.json": "{"})
    assert refused("owner/name", tmp_path).startswith("owner/name: merges.txt and vocab.json: not valid JSON: ")


# Neither


@pytest.mark.parametrize("source", ["gpt3", "./tok.json", "a/b/tok.json", "../tok/x", "owner/", "~/no/such", "a b/c"])
def test_what_is_neither_is_one_clear_error(tmp_path: Path, source: str) -> None:
    message = refused(source, tmp_path)
    assert message.startswith("tokenizer.pretrained: must be the path of a tokenizer.json or of a folder ")
    for hint in ("vocab.json and merges.txt", "gpt2, r50k_base", "'owner/name'"):
        assert hint in message
    assert message.endswith(f"got {source!r}")
