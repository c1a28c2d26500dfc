"""Tests of lm/tokenizer/load.py: any tokenizer.json, and what is said of those that cannot be used."""

import copy
import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, pre_tokenizers, trainers

from lm.config.special_tokens import END_OF_TEXT
from lm.tokenizer.alphabet import CHARACTER_OF_BYTE
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import bytes_alone, learn_bpe, learn_bpe_with_library, learn_characters
from lm.tokenizer.library import LibraryTokenizer
from lm.tokenizer.load import load_tokenizer, parse_tokenizer
from lm.tokenizer.tokenizer import Tokenizer
from tests.small import DOCUMENTS, SPECIALS, tokenizer_config

SAMPLE = "The little fox's den, 🦊 1200 été\n\n  <|user|> \x00"


@cache
def definitions() -> dict[str, str]:
    """A small file of each kind of ours, and one of the library's."""
    words = count_texts(DOCUMENTS)
    return {
        "bpe": learn_bpe(words, tokenizer_config(vocab_size=263)).definition,
        "char": learn_characters(words, tokenizer_config(kind="char", vocab_size=12)).definition,
        "library": word_level().to_str(),
    }


def word_level() -> Library:
    theirs = Library(models.WordLevel({END_OF_TEXT: 0, "?": 1, "the": 2, "fox": 3}, unk_token="?"))
    theirs.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    theirs.add_special_tokens([END_OF_TEXT])
    return theirs


def trained_by_library(*, add_prefix_space: bool = False) -> Library:
    """Byte-level BPE as everybody trains it with the library."""
    theirs = Library(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    theirs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=[END_OF_TEXT, *SPECIALS], initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator(DOCUMENTS, trainer)
    return theirs


def ids_of(definition: str, text: str) -> list[int]:
    theirs = Library.from_str(definition)
    theirs.encode_special_tokens = True
    ids: list[int] = theirs.encode(text).ids
    return ids


@pytest.mark.parametrize("pretty", [True, False])
def test_a_file_that_the_library_has_trained_becomes_ours(pretty: bool, tmp_path: Path) -> None:
    trained_by_library().save(str(tmp_path / "tokenizer.json"), pretty=pretty)
    ours = load_tokenizer(tmp_path / "tokenizer.json")
    assert type(ours) is BpeTokenizer
    assert ours.definition == (tmp_path / "tokenizer.json").read_text(encoding="utf-8")
    assert ours.special_tokens == {END_OF_TEXT: 0, "<|user|>": 1, "<|bot|>": 2}
    assert ours.encode(SAMPLE) == ids_of(ours.definition, SAMPLE)
    assert ours.decode(ours.encode(SAMPLE)) == SAMPLE


def test_a_file_with_merges_as_they_were_written_before_2024_becomes_ours() -> None:
    values = json.loads(trained_by_library().to_str())
    values["model"]["merges"] = [" ".join(pair) for pair in values["model"]["merges"]]
    assert any(merge.startswith("Ġ ") for merge in values["model"]["merges"])
    ours = parse_tokenizer(json.dumps(values))
    assert type(ours) is BpeTokenizer
    assert ours.encode(SAMPLE) == ids_of(trained_by_library().to_str(), SAMPLE)


def test_the_two_files_of_gpt2_put_together_by_the_library_become_ours(tmp_path: Path) -> None:
    # GPT-2's vocabulary is in another order than ours: the special token comes last.
    trained = trained_by_library()
    names = sorted(trained.get_vocab(), key=lambda name: (name == END_OF_TEXT, trained.token_to_id(name)))
    vocab = {name: id for id, name in enumerate(name for name in names if name not in SPECIALS)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    merges = "\n".join(" ".join(pair) for pair in json.loads(trained.to_str())["model"]["merges"])
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    theirs = Library(models.BPE.from_file(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens([END_OF_TEXT])
    ours = parse_tokenizer(theirs.to_str())
    assert type(ours) is BpeTokenizer
    assert ours.end_id == ours.vocab_size - 1 == len(vocab) - 1
    text = SAMPLE + END_OF_TEXT
    assert ours.encode(text) == ids_of(theirs.to_str(), text)
    assert ours.encode(text, allow_special=True) == theirs.encode(text).ids
    assert ours.to_tiktoken().encode(text, allowed_special="all") == theirs.encode(text).ids


def test_special_tokens_may_be_added_beyond_the_vocabulary_of_the_model() -> None:
    theirs = trained_by_library()
    theirs.add_special_tokens(["<|later|>"])
    ours = parse_tokenizer(theirs.to_str())
    assert type(ours) is BpeTokenizer
    assert ours.special_tokens["<|later|>"] == ours.vocab_size - 1 == 300
    assert ours.encode("a<|later|>", allow_special=True) == theirs.encode("a<|later|>").ids
    assert ours.decode([300]) == "<|later|>"


@pytest.mark.parametrize("kind", ["bpe", "byte", "char", "huggingface"])
def test_our_files_become_ours_again(kind: str) -> None:
    ours: Tokenizer
    if kind == "bpe":
        ours = learn_bpe(count_texts(DOCUMENTS), tokenizer_config())
    elif kind == "byte":
        ours = bytes_alone(tokenizer_config(kind="byte"))
    elif kind == "char":
        ours = learn_characters(count_texts(DOCUMENTS), tokenizer_config(kind="char"))
    else:
        ours = learn_bpe_with_library(DOCUMENTS, tokenizer_config())
    for definition in (ours.definition, json.dumps(json.loads(ours.definition))):
        again = parse_tokenizer(definition)
        assert type(again) is type(ours)
        assert again.encode(SAMPLE) == ours.encode(SAMPLE)
        assert again.definition == definition


@pytest.mark.parametrize(
    "theirs",
    [word_level(), trained_by_library(add_prefix_space=True), Library(models.Unigram([("<unk>", 0.0)], 0))],
    ids=["words", "prefix space", "unigram"],
)
def test_every_other_file_is_the_librarys(theirs: Library) -> None:
    theirs.add_special_tokens([END_OF_TEXT])
    assert type(parse_tokenizer(theirs.to_str())) is LibraryTokenizer


@st.composite
def merges(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Merges of some letters, in any order, also such that training never gives."""
    tokens = ["a", "b", "c"]
    for _ in range(draw(st.integers(0, 6))):
        tokens.append(draw(st.sampled_from(tokens)) + draw(st.sampled_from(tokens)))
    pairs = [(token[:i], token[i:]) for token in dict.fromkeys(tokens) for i in range(1, len(token))]
    possible = [(left, right) for left, right in pairs if left in tokens and right in tokens]
    return draw(st.permutations(possible))[: draw(st.integers(0, len(possible)))] if possible else []


def with_merges(pairs: list[tuple[str, str]], *, old: bool) -> str:
    """A file of bytes and these merges, of any tokens."""
    tokens = [END_OF_TEXT, *CHARACTER_OF_BYTE, *dict.fromkeys(left + right for left, right in pairs)]
    for token in [token for pair in pairs for token in pair]:
        tokens.append(token) if token not in tokens else None
    values = json.loads(bytes_alone(tokenizer_config(kind="byte", special_tokens=[])).definition)
    values["model"]["vocab"] = {token: id for id, token in enumerate(tokens)}
    values["model"]["merges"] = [" ".join(pair) if old else list(pair) for pair in pairs]
    return json.dumps(values)


@settings(max_examples=100)
@given(merges(), st.lists(st.text("aabc", max_size=30), min_size=1, max_size=4), st.booleans())
@example([("b", "c"), ("a", "b"), ("ab", "c")], ["abc"], False)
@example([("ab", "c"), ("a", "b")], ["abcabc"], False)
@example([("aa", "a"), ("a", "a"), ("a", "aa")], ["a" * 9], False)
def test_merges_in_any_order_give_the_ids_that_the_library_gives(
    pairs: list[tuple[str, str]], words: list[str], old: bool
) -> None:
    definition = with_merges(pairs, old=old)
    ours = parse_tokenizer(definition)
    assert type(ours) is BpeTokenizer
    for word in [*words, "".join(words) * 9]:
        assert ours.encode(word) == ids_of(definition, word)


@given(merges().filter(bool), st.data())
def test_a_merge_that_stands_there_twice_is_an_error_or_gives_the_ids_that_the_library_gives(
    pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    twice = data.draw(st.sampled_from(pairs))
    definition = with_merges([*pairs, twice], old=False)
    try:
        ours = parse_tokenizer(definition)
    except ValueError as error:
        assert str(error).startswith(f"merges[{len(pairs)}]: ")  # noqa: PT017
        return
    for word in data.draw(st.lists(st.text("aabc", max_size=30), min_size=1, max_size=4)):
        assert ours.encode(word) == ids_of(definition, word)


@given(st.lists(st.sampled_from(["<a>", "<a><b>", "a>"]), unique=True, min_size=1), st.text("<ab> ", max_size=20))
@example(["<a>"], "<a><b>")
def test_special_tokens_that_a_normalizer_would_reach_are_found_as_the_library_finds_them(
    normalized: list[str], text: str
) -> None:
    learned = learn_bpe(count_texts(["ab"]), tokenizer_config(special_tokens=["<a>", "<a><b>", "a>"]))
    values = json.loads(learned.definition)
    for token in values["added_tokens"]:
        token["normalized"] = token["content"] in normalized
    definition = json.dumps(values)
    assert parse_tokenizer(definition).encode(text, allow_special=True) == Library.from_str(definition).encode(text).ids


def changed(kind: str, *changes: tuple[list[str | int], Any]) -> str:
    """A file with other values at some places; `...` takes the value away."""
    values = json.loads(definitions()[kind])
    for path, value in changes:
        at = values
        for key in path[:-1]:
            at = at[key]
        if value is ...:
            del at[path[-1]]
        else:
            at[path[-1]] = value
    return json.dumps(values)


def end_and(content: str, id: int) -> tuple[list[str | int], Any]:
    """A special token more, beside the end of text."""
    end = json.loads(definitions()["bpe"])["added_tokens"][0]
    return ["added_tokens"], [end, {**end, "content": content, "id": id}]


@pytest.mark.parametrize("content", ["Q", "é", "he", "Ġ"])  # bytes, a merged word
def test_a_special_token_that_text_yields_as_well_is_left_to_the_library(content: str) -> None:
    values = json.loads(learn_bpe(count_texts(["the then"] * 9), tokenizer_config(vocab_size=263)).definition)
    token = {**values["added_tokens"][0], "content": content, "id": values["model"]["vocab"][content]}
    values["added_tokens"].append(token)
    ours = parse_tokenizer(json.dumps(values))
    assert type(ours) is LibraryTokenizer
    assert token["id"] not in ours.encode("the Qué 頁")
    assert ours.encode(content, allow_special=True) == [token["id"]]


def nth(kind: str, id: int) -> str:
    """The name of the token with this id."""
    vocab: dict[str, int] = json.loads(definitions()[kind])["model"]["vocab"]
    return {id: token for token, id in vocab.items()}[id]


def bad_files() -> Iterator[tuple[str, str, str]]:
    """A name, a text and what is said of it, as far as it is ours to say."""
    nothing = "not a tokenizer.json: "
    yield "empty", "", nothing
    yield "cut off", definitions()["bpe"][:1000], nothing
    yield "a list", "[]", nothing
    yield "a number", "1", nothing
    yield "no model", '{"version": "1.0"}', nothing
    yield "a model that is none", '{"model": "BPE"}', nothing
    yield "not a number", definitions()["bpe"].replace('"a": ', '"a": NaN, "b":', 1), ""
    yield "deep", "[" * 10**5 + "]" * 10**5, nothing
    no_end = f"must have the special token {END_OF_TEXT}"
    for kind in ("bpe", "char"):
        yield f"{kind} without end", definitions()[kind].replace(END_OF_TEXT, "<|end|>"), no_end
    yield "no special tokens", changed("library", (["added_tokens"], [])), no_end
    empty = "added_tokens: must not be empty, got ''"
    yield "empty special token", changed("bpe", end_and("", 263)), empty
    yield "gap", changed("bpe", (["model", "vocab", nth("bpe", 262)], 263)), "model.vocab: must have each id from 0 to "
    yield "twice", changed("bpe", (["model", "vocab", nth("bpe", 262)], 7)), "model.vocab: must have each id from 0 to "
    yield "negative", changed("bpe", (["model", "vocab", nth("bpe", 262)], -1)), nothing
    yield "text as id", changed("bpe", (["model", "vocab", nth("bpe", 262)], "262")), nothing
    yield "fraction as id", changed("bpe", (["model", "vocab", nth("bpe", 262)], 262.5)), nothing
    yield "list as id", changed("bpe", (["model", "vocab", nth("bpe", 262)], [262])), ""
    yield "no byte", changed("bpe", (["model", "vocab", "日"], 263)), ""
    for merge in ("ab", "a b c", "", ["a"], ["a", "b", "c"], 1, None, {"a": "b"}, ["a", 1], [["a"], "b"]):
        yield f"merge {merge!r}", changed("bpe", (["model", "merges", 1], merge)), "merges[1]: must be two tokens, got "
    for merge in (["zz", "z"], ["a", "zz"], ["z", "z"], ["", "a"], [END_OF_TEXT, "a"]):
        yield f"merge {merge!r}", changed("bpe", (["model", "merges", 1], merge)), "merges[1]: must join two tokens "
    wrong: Any
    id: Any
    content: Any
    for wrong in ("a", 1, True, {"a": "b"}, None):
        yield f"merges {wrong!r}", changed("bpe", (["model", "merges"], wrong)), ""
    for wrong in ("a", 1, [1], ["a"], {"a": 1}, [None], [[]], [{}], [{"id": 0}], [{"content": END_OF_TEXT}]):
        yield f"added tokens {wrong!r}", changed("bpe", (["added_tokens"], wrong)), ""
    for id in ("0", None, [0], {}, 0.5, -1, True):
        yield f"special id {id!r}", changed("bpe", (["added_tokens", 0, "id"], id)), ""
    for content in (1, None, ["a"], {}):
        yield f"special token {content!r}", changed("bpe", (["added_tokens", 0, "content"], content)), ""
    for wrong in ("ByteLevel", 1, [1], True):
        yield f"pre_tokenizer {wrong!r}", changed("bpe", (["pre_tokenizer"], wrong)), ""
        yield f"post_processor {wrong!r}", changed("bpe", (["post_processor"], wrong)), ""
    for wrong in ("a", 1, [], None, ...):
        yield f"vocab {wrong!r}", changed("char", (["model", "vocab"], wrong)), ""
        yield f"bpe vocab {wrong!r}", changed("bpe", (["model", "vocab"], wrong)), ""
    for wrong in (1, [], {"a": 1}, "#######", "éé"):
        yield f"prefix {wrong!r}", changed("bpe", (["model", "continuing_subword_prefix"], wrong)), ""
    for part in ("normalizer", "decoder"):  # which the library takes for a part that has no options
        yield f"a list as {part}", changed("library", ([part], [""])), f"{part}: must be "
    yield "a line break", changed("bpe", (["truncation"], [{"\n": None}])), nothing
    yield "half a character", changed("char", (["model", "vocab", nth("char", 4)], ...)).replace('"?"', "2"), ""


BAD_FILES = {name: (text, message) for name, text, message in bad_files()}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_used_is_one_clear_error(name: str, tmp_path: Path) -> None:
    text, message = BAD_FILES[name]
    path = tmp_path / "tokenizer.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the beginning of the message is compared)
        load_tokenizer(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json: no such file$"):
        load_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"tokenizer\.json: .*utf-8"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_a_folder_instead_of_a_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{tmp_path}: "):
        load_tokenizer(tmp_path)


# What stands in such files and what does not, at any place of them.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from([END_OF_TEXT, "BPE", "WordLevel", "ByteLevel", "a b", "\ufffd", chr(0xD800), 2**32, 2**70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def places(values: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value in a JSON document."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


@cache
def all_places(kind: str) -> tuple[list[tuple[str | int, ...]], ...]:
    """Places of a file, those within the vocabulary and all others, of which there are far fewer."""
    every = list(places(json.loads(definitions()[kind])))
    in_vocab = [path for path in every if path[:2] == ("model", "vocab") and path[2:]]
    return in_vocab, [path for path in every if path not in in_vocab]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A file with something else at one place, or nothing, or in which one value has taken another one's place."""
    kind = draw(st.sampled_from(["bpe", "bpe", "char", "library"]))
    values = copy.deepcopy(json.loads(definitions()[kind]))
    in_vocab, others = all_places(kind)
    for _ in range(draw(st.integers(1, 2))):
        path: tuple[Any, ...] = draw(st.sampled_from(in_vocab) | st.sampled_from(others) | st.sampled_from(others))
        at: Any = values
        try:
            for key in path[:-1]:
                at = at[key]
            at[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken this place away
        if not isinstance(at, dict | list):
            continue
        match draw(st.sampled_from(["replace", "replace", "remove", "double"])):
            case "replace":
                at[path[-1]] = draw(json_values)
            case "remove":
                del at[path[-1]]
            case "double":
                if isinstance(at, list):
                    at.append(copy.deepcopy(at[path[-1]]))
                else:
                    at[draw(st.text(max_size=2))] = copy.deepcopy(at[path[-1]])
    return json.dumps(values)


@settings(max_examples=400)
@given(damaged())
def test_a_damaged_file_works_or_is_one_clear_error(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(text, encoding="utf-8")
        try:
            tokenizer = load_tokenizer(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            return
    assert type(tokenizer.end_id) is int
    try:
        ids = tokenizer.encode(SAMPLE)
    except ValueError as error:  # a model of words may know no word for the unknown
        assert isinstance(tokenizer, LibraryTokenizer)
        assert re.match("^model: .*$", str(error))  # noqa: PT017
        return
    assert all(type(id) is int and 0 <= id < tokenizer.vocab_size for id in ids)
    assert tokenizer.end_id not in ids
    assert tokenizer.decode([tokenizer.end_id]) == END_OF_TEXT
    if isinstance(tokenizer, BpeTokenizer):
        assert tokenizer.decode(ids) == SAMPLE
    if isinstance(tokenizer, BpeTokenizer | CharacterTokenizer):
        # Where it works here, it works there in the same way, unless there it does not work at all.
        try:
            theirs = ids_of(text, SAMPLE)
        except Exception:  # the library raises bare Exception
            return
        assert ids == theirs


@given(st.sampled_from(["bpe", "char", "library"]), st.floats(0, 1, exclude_max=True))
def test_a_file_cut_off_anywhere_is_one_clear_error(kind: str, share: float) -> None:
    definition = definitions()[kind]
    with pytest.raises(ValueError, match=r"^not a tokenizer\.json: "):
        parse_tokenizer(definition[: int(share * len(definition))])
