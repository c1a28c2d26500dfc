"""Tests of commands/generate: what a person types, and what comes out."""

import io
import itertools
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from commands.generate.__main__ import SEED, main
from commands.generate.options import DEFAULTS, EXAMPLES, build_parser
from commands.generate.request import Request
from lm.config.sample import SampleConfig
from lm.config.special_tokens import END_OF_TEXT
from lm.generation.events import collect
from lm.generation.texts import continue_prompts
from lm.reference.load import load_model
from lm.tokenizer.load import load_tokenizer, parse_tokenizer
from tests.project import ROOT
from tests.small import words, write_model

Told = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that draws single bytes."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def tell(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    """Runs the command with this model in NumPy: gives status, standard output and errors."""

    def run(
        *words: str | Path, stdin: bytes | None = None, model: str | Path = folder, backend: str = "numpy"
    ) -> tuple[int, str, str]:
        file = io.TextIOWrapper(io.BytesIO(stdin or b""))
        monkeypatch.setattr(file, "isatty", lambda: stdin is None)
        monkeypatch.setattr(sys, "stdin", file)
        try:
            status = main([str(model), "--backend", backend, "--max-new-tokens", "12", *map(str, words)])
        except SystemExit as ended:  # of the parser
            status = int(str(ended.code))
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_the_space_after_a_prompt_is_that_of_the_tokenizer(tell: Told, tmp_path: Path) -> None:
    library = words()
    write_model(tmp_path, tokenizer := parse_tokenizer(library.to_str()))
    model, card = load_model(tmp_path / "model.safetensors")
    for prompts in (["a fox"], ["a fox", "", "the hen and"]):
        options = {"max_new_tokens": 5, "temperature": 1.0, "top_k": None, "top_p": None, "device": "cpu"}
        config = SampleConfig.parse(options | {"prompts": prompts})
        rows = collect(continue_prompts(model, tokenizer, config, end_id=card.end_id, seed=3), len(prompts))
        assert max(map(len, rows)) > 2
        expected = [
            library.decode(library.encode(prompt).ids + ids, skip_special_tokens=False)
            for prompt, ids in zip(prompts, rows, strict=True)
        ]
        flags = shlex.split("--temperature 1 --top-p 1 --seed 3 --max-new-tokens 5")
        assert tell(*prompts, *flags, model=tmp_path) == (0, "\n\n".join(expected) + "\n", "")


def test_options_stand_before_between_and_after_prompts_and_words_after_two_dashes_are_prompts(tell: Told) -> None:
    _, expected, _ = (
        tell("é", "--seed", "--", stdin=b"") if False else tell("é", "A hen", "--seed", "4", "--top-k", "9")
    )
    assert tell("--seed", "4", "é", "--top-k=9", "A hen")[1] == expected
    assert tell("--top-k", "9", "--seed", "4", "--", "é", "A hen")[1] == expected
    assert tell("--options", "--top-k 9 --seed '4'", "--", "é", "A hen")[1] == expected
    assert tell("--max-new-tokens", "0", "--", "-", "--seed", "--options")[1] == "-\n\n--seed\n\n--options\n"


def test_a_text_does_not_depend_on_those_beside_it_nor_on_the_batch(tell: Told, tmp_path: Path) -> None:
    prompts = ["The fox", "", "A hen who lived far away", "x", "The fox"]
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(prompts))
    together = tell("--prompts", file)[1]
    assert tell(*prompts)[1] == together
    assert tell("--prompts", file, "--batch", "2")[1] == together
    assert together.startswith(tell("The fox")[1])
    assert tell("The fox", backend="torch")[1] == tell("The fox")[1]
    assert tell("The fox", "--int8", backend="torch")[0] == 0


def test_the_prompt_comes_from_the_standard_input(tell: Told) -> None:
    expected = tell("one\ntwo")
    assert tell(stdin=b"one\ntwo\n") == expected
    assert tell("-", stdin=b"one\ntwo") == expected
    assert tell("a", "-", "b", "--max-new-tokens", "0", stdin=b"mid\n\n")[1] == "a\n\nmid\n\n\nb\n"
    assert tell("a", "--max-new-tokens", "0", stdin=b"not read")[1] == "a\n"
    assert tell("--max-new-tokens", "0")[1] == "\n"  # on a terminal the model starts a text
    assert tell(stdin=b"\xff")[2] == "error: standard input: must be UTF-8: invalid start byte at byte 0\n"


def test_prompts_are_lines_of_a_file_or_strings_in_lines_of_json(tell: Told, tmp_path: Path) -> None:
    def told(name: str, content: bytes) -> tuple[int, str, str]:
        (tmp_path / name).write_bytes(content)
        return tell("--prompts", tmp_path / name, "--max-new-tokens", "0")

    assert told("a.txt", b"one\r\n\n two \n")[1] == "one\n\n\n\n two \n"
    assert told("a.jsonl", b'"on\\ne"\n\n{"prompt": "two", "more": 1}\n')[1] == "on\ne\n\ntwo\n"
    place = tmp_path / "a.jsonl"
    assert told("a.jsonl", b'"x"\n3\n')[2] == (
        f"error: {place}:2: must be a string, or an object with a string under 'prompt', got 3\n"
    )
    assert told("a.jsonl", b"{\n")[2].startswith(f"error: {place}:1: not valid JSON: ")
    assert told("a.txt", b"\xff")[2] == f"error: {tmp_path / 'a.txt'}: must be UTF-8: invalid start byte at byte 0\n"
    assert told("a.txt", b"")[2] == f"error: {tmp_path / 'a.txt'}: must hold a prompt, got an empty file\n"


def test_json_says_all_that_is_known_of_each_text(tell: Told, folder: Path, tmp_path: Path) -> None:
    file, prompts = tmp_path / "texts.jsonl", ["é", "", "é"]
    status, out, err = tell(*prompts, "--json", file, "--logprobs", "2", "--temperature", "2", "--batch", "2")
    assert (status, out) == (0, "")
    texts = [json.loads(line) for line in file.read_text().splitlines()]
    n_tokens = sum(len(text["ids"]) for text in texts)
    assert re.fullmatch(rf"3 texts, {n_tokens} tokens in \d+\.\d s: {file}\n", err)
    texts.sort(key=lambda text: int(text["index"]))
    assert [(text["index"], text["sample"], text["prompt"]) for text in texts] == [(0, 0, "é"), (1, 0, ""), (2, 0, "é")]
    assert texts[0]["ids"] != texts[2]["ids"]
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    for text in texts:
        assert tokenizer.decode(text["ids"]).rstrip("\ufffd") == text["text"].rstrip("\ufffd")
        assert text["ended"] in ("model", "length")
        assert text["complete"] == (text["ended"] == "model")
        assert [token["id"] for token in text["tokens"]] == text["ids"]
        assert text["log_probability"] == pytest.approx(sum(token["logprob"] for token in text["tokens"]))
        for token in text["tokens"]:
            likely = [alternative["logprob"] for alternative in token["alternatives"]]
            assert len(likely) == 2
            assert likely == sorted(likely, reverse=True)
            assert token["logprob"] <= likely[0]
    _, out, err = tell(*prompts, "--json", "-", "--temperature", "2")
    shown = [json.loads(line) for line in out.splitlines()]
    assert sorted(text["text"] for text in shown) == sorted(text["text"] for text in texts)
    assert all("tokens" not in text and text["log_probability"] < 0 for text in shown)
    assert re.fullmatch(r"3 texts, \d+ tokens in \d+\.\d s\n", err)


def test_several_texts_of_a_prompt_stand_together_and_those_of_a_search_are_ranked(tell: Told) -> None:
    drawn = tell("a", "b", "--n", "2")[1]
    assert drawn.startswith(tell("a")[1])
    assert drawn == tell("a", "b", "--n", "2", "--batch", "1")[1]
    found = tell("a", "b", "--beams", "3", "--n", "2", "--stop", "zz", "--json", "-")[1]
    texts = [json.loads(line) for line in found.splitlines()]
    assert sorted((text["index"], text["sample"]) for text in texts) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for index in (0, 1):
        best, second = sorted((text for text in texts if text["index"] == index), key=lambda text: int(text["sample"]))
        assert best["score"] >= second["score"]
        assert best["ids"] != second["ids"]
    assert tell("a", "--beams", "3", "--early-stopping", "true")[0] == 0
    assert tell("a", "--penalty-alpha", "0.6", "--top-k", "4")[0] == 0
    assert tell("a", "--beams", "3", "--require", "x", "--forbid", "y")[1].count("x") > 0


def test_guessed_tokens_leave_the_likeliest_text_as_it_is(tell: Told, folder: Path, tmp_path: Path) -> None:
    prompts = ("aaaa", "x", "A hen")
    for options in (["--draft-ngrams"], ["--draft", folder], ["--draft", write_model(tmp_path, d_model=32)]):
        assert tell(*prompts, "--temperature", "0", *options) == tell(*prompts, "--temperature", "0")
        status, out, _ = tell(*prompts, "--json", "-", *options)
        assert status == 0
        assert all(json.loads(line)["log_probability"] is None for line in out.splitlines())


def test_a_stop_string_is_never_shown(tell: Told) -> None:
    plain = tell("x", "--seed", "2")[1].removesuffix("\n")
    stop = re.findall(r"[!-~]{2}", plain[1:])[0]
    options = ["--seed", "2", "--stop", "not there", "--stop", stop]
    assert tell("x", *options)[1] == plain[: plain.index(stop, 1)] + "\n"
    assert tell("x", "", *options)[1].startswith(plain[: plain.index(stop, 1)] + "\n\n")
    text = json.loads(tell("x", *options, "--json", "-")[1])
    assert (text["text"], text["ended"]) == (plain[1 : plain.index(stop, 1)], "stop")


def test_top_p_is_a_default_only_where_nothing_else_narrows_the_choice(tell: Told) -> None:
    hot = ("x", "--temperature", "2")
    assert tell(*hot) == tell(*hot, "--top-p", "0.95")
    assert tell(*hot) != tell(*hot, "--top-p", "1")
    assert tell(*hot, "--min-p", "0") == tell(*hot, "--top-p", "1")


def test_special_tokens_in_a_prompt_are_plain_text_unless_asked_otherwise(tell: Told) -> None:
    prompt = f"a{END_OF_TEXT}b"
    plain, special = tell(prompt, "--max-new-tokens", "3")[1], tell(prompt, "--special", "--max-new-tokens", "3")[1]
    assert plain != special
    assert plain.startswith(prompt)
    assert special.startswith(prompt)


def test_a_long_prompt_is_continued_after_its_end(tell: Told) -> None:
    prompt = "The little fox ran."  # 19 bytes, the context holds 16 tokens
    status, out, err = tell(prompt)
    assert status == 0
    assert out.startswith(prompt)
    assert len(out) > len(prompt) + 1
    assert err == "note: the model sees 16 tokens at once, so only the end of 1 longer prompts\n"


def test_a_person_is_told_that_a_text_was_cut_off(tell: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert tell("x")[2] == "(cut off after 12 tokens; --max-new-tokens allows more)\n"
    assert tell("x", "--max-new-tokens", "2000", "--temperature", "2")[2] == ""  # the model has ended it


def test_the_tokenizer_lies_beside_the_model_or_is_given(tell: Told, folder: Path, tmp_path: Path) -> None:
    expected = tell("x")
    assert tell("x", model=folder / "model.safetensors") == expected
    (tmp_path / "my.safetensors").symlink_to(folder / "model.safetensors")
    assert tell("x", "--tokenizer", folder / "tokenizer.json", model=tmp_path / "my.safetensors") == expected
    assert tell("x", model=tmp_path / "my.safetensors")[2] == (
        f"error: --tokenizer: {tmp_path / 'tokenizer.json'}: no such file; it must lie beside the model, or be given\n"
    )
    text = (folder / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace("{", "{ ", 1))
    assert tell("x", model=tmp_path / "my.safetensors")[2].startswith(
        f"error: {tmp_path / 'tokenizer.json'}: must have the tokenizer of {tmp_path / 'my.safetensors'}, with the hash"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top-k", "0"], "--top-k: must be greater than or equal to 1, got 0"),
        (["--temperature", "-1"], "--temperature: must be greater than or equal to 0, got -1.0"),
        (["--temperature", "warm"], "--temperature: invalid float value: 'warm'; --help explains all options"),
        (["--top-q", "1"], "--top-q: unknown option, did you mean --top-p?; --help explains all options"),
        (["--options", "--stop 'x"], "--options: no closing quotation; --help explains all options"),
        (["--seed", "-1"], "--seed: must be an integer from 0 to 2**32 - 1, got -1"),
        (["--batch", "0"], "--batch: must be 1 or above, got 0"),
        (["--logprobs", "2"], "--logprobs: needs --json, which has a place for them"),
        (["--temperature", "0", "--top-k", "3"], "--top-k: no effect with --temperature=0"),
        (["--temperature", "2", "--top-k", "3", "--beams", "2"], "--temperature, --top-k: no effect with --beams=2"),
        (["--length-penalty", "2"], "--length-penalty: no effect with --beams=1"),
        (["--penalty-alpha", "0.5"], "--top-k: must be a number where --penalty-alpha is one, got null"),
        (["--penalty-alpha", "0.5", "--top-k", "4", "--temperature", "2"],
         "--temperature: no effect with --penalty-alpha=0.5"),
        (["--require", "x"], "--beams: must be 2 or more where --require holds something, got 1"),
        (["--beams", "2", "--n", "3"], "--n: must be at most beams=2, got 3"),
        (["--forbid", ""], "--forbid: must not be empty, got ''"),
        (["--beams", "2", "--require", "dragon", "--max-new-tokens", "3"],
         "--max-new-tokens: must be 7 or more, because so many tokens spell what --require holds, got 3"),
        (["--device", "cuda"], "--device: must be 'cpu' or 'auto' with NumPy, got 'cuda'"),
        (["--draft-ngrams", "--stop", "x"], "--stop: cannot be used with --draft-ngrams"),
        (["--draft", "x", "--n", "2"], "--n: cannot be used with --draft"),
        (["--int8"], "--weights: must be 'fp32' with NumPy, got 'int8'"),
        (["--json", "/dev/full"], "No space left on device"),
        (["--json", "/nowhere/texts.jsonl"], "/nowhere/texts.jsonl: No such file or directory"),
        (["--prompts", "/nowhere/prompts.txt"], "/nowhere/prompts.txt: No such file or directory"),
        (["\udcff"], r"prompt: must be UTF-8, got '\udcff'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(tell: Told, words: list[str], message: str) -> None:
    if "/dev/full" in words and not Path("/dev/full").exists():
        pytest.skip("this system has no disk that is always full")
    for prompts in (["x"], ["x", "y"]):
        status, out, err = tell(*prompts, *words)
        assert (status, out) == (1, "")
        assert re.sub(r"^0 of \d texts, 0 tokens in .* s: /dev/full\n", "", err) == f"error: {message}\n"


def test_a_model_that_is_none_is_one_clear_line(tell: Told, folder: Path, tmp_path: Path) -> None:
    for model, message in {
        "/nowhere": "/nowhere: no such file; name a folder that holds model.safetensors, or a model file",
        folder / "tokenizer.json": f"{folder / 'tokenizer.json'}: not a safetensors file: ",
        tmp_path: f"{tmp_path / 'model.safetensors'}: no such file; ",
    }.items():
        status, out, err = tell("x", model=model)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"error: {message}")


WHOLE: dict[str, Callable[..., Iterator[Any]]] = {"stream": Request.stream, "texts": Request.texts}


def fail(monkeypatch: pytest.MonkeyPatch, method: str, error: BaseException, *, after: int) -> None:
    """Let a method of `Request` raise an error after so many results."""

    def results(*arguments: Any) -> Iterator[Any]:
        yield from itertools.islice(WHOLE[method](*arguments), after)
        raise error

    monkeypatch.setattr(Request, method, results)


def test_ctrl_c_ends_a_text_where_it_is_and_keeps_whole_lines(
    tell: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tell("x", "--temperature", "0")[1]
    fail(monkeypatch, "stream", KeyboardInterrupt(), after=5)
    status, out, err = tell("x", "--temperature", "0")
    assert (status, err) == (130, "stopped\n")
    assert out.endswith("\n")
    assert whole.startswith(out[:-1])
    assert 1 < len(out) < len(whole)

    file = tmp_path / "texts.jsonl"
    fail(monkeypatch, "texts", KeyboardInterrupt(), after=2)
    status, _, err = tell("x", "y", "z", "--json", file)
    assert status == 130
    assert re.fullmatch(rf"2 of 3 texts, \d+ tokens in .* s: {file}\nstopped\n", err)
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 2


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 8.00 GiB.")])
def test_running_out_of_memory_names_what_to_lower(
    tell: Told, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, "texts", error, after=0)
    status, _, err = tell("x", "y")
    assert status == 1
    assert err == "error: --batch: so many texts at once, or the model alone, do not fit into memory; lower --batch\n"
    fail(monkeypatch, "texts", RuntimeError("another"), after=0)
    with pytest.raises(RuntimeError, match="another"):
        tell("x", "y")


def test_every_parameter_of_sampling_has_an_option_and_defaults_are_those_of_the_pipeline() -> None:
    names = {action.dest for action in build_parser()._actions}
    assert set(SampleConfig.model_fields) - {"strategies"} <= names
    params = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    assert {name: params["sample"][name] for name in DEFAULTS} == dict(DEFAULTS)
    assert params["seed"] == SEED


def test_the_help_explains_every_option_and_its_examples_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser()
    with pytest.raises(SystemExit):
        parser.parse(["--help"])
    shown = capsys.readouterr().out
    for action in parser._actions:
        for flag in action.option_strings:
            assert flag in shown or flag == "--options"
    assert max(map(len, shown.splitlines())) <= 120
    commands = re.findall(r"python -m commands\.generate (.*)", EXAMPLES)
    assert len(commands) > 3
    for command in commands:
        parser.parse(shlex.split(command))
