"""The command that lets another language model grade stories, with the real client and a server on loopback."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands.judge.__main__ import main
from lm.analysis.stories.grades import QUALITIES
from lm.config.special_tokens import END_OF_TEXT
from tests.commands.judge.judge_server import GOOD, JudgeServer, completion, failure, graded, judge_server
from tests.small import write_model

WRITTEN = [
    {"prompt": "Once there was", "text": " a fox.", "complete": True},
    {"prompt": "Once there was", "text": " a hen", "complete": False},
    {"prompt": "One day the", "text": " dog sang: “ä {0} ***”.", "complete": True},
]


@pytest.fixture(scope="module")
def serving() -> Iterator[JudgeServer]:
    with judge_server() as server:
        yield server


@pytest.fixture
def judge(serving: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JudgeServer:
    """The server with nothing asked yet, and the stories in a.jsonl of the working folder."""
    serving.answer, serving.asked, serving.keys = graded, [], []
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    write_lines("a.jsonl", WRITTEN)
    return serving


def write_lines(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def run(judge: JudgeServer, *words: str, retries: int = 2) -> int:
    return main([*words, "--url", judge.url, "--judge", "wise", "--retries", str(retries)])


def judged() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path("judged.json").read_text())
    return content


def test_stories_are_graded_and_the_table_says_the_means(
    judge: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = iter((8, 6, 4))

    def answer(messages: list[dict[str, str]]) -> str:
        return f"Grammar: {next(marks)}/10, Creativity: 5, Consistency: 7, Plot: 5" if len(messages) > 1 else "Well."

    judge.answer = answer
    assert run(judge, "a.jsonl", "--at-once", "1", "--temperature", "0") == 0
    measures = judged()["measures"]["a.jsonl"]
    assert {name: measures[name] for name in measures if name.startswith("n_")} == {
        "n_stories": 3, "n_cut_off": 1, "n_graded": 3, "n_unreadable": 0, "n_failed": 0
    }  # fmt: skip
    assert (measures["grammar"], measures["creativity"]) == (6, 5)
    # Residuals of the two beginnings: 2 + 0 and -2; sqrt(2 / 1 * (4 + 4)) / 3.
    assert measures["grammar_standard_error"] == pytest.approx(4 / 3)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["graded", *QUALITIES]
    assert lines[1].split() == ["a.jsonl", "3", "6.00", "±", "1.33", "5.00", "±", "0.00", *lines[1].split()[-6:]]
    assert lines[2:] == ["a.jsonl: stories: 3; cut off before their end: 1", "all answers: judged.json"]
    first, second = judge.asked[:2]
    assert (first["model"], first["temperature"], first["messages"][0]["role"]) == ("wise", 0, "user")
    assert "Once there was*** a fox." in first["messages"][0]["content"]
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"] == "Well."
    assert "dog sang: “ä {0} ***”." in judge.asked[-1]["messages"][0]["content"]
    assert judged()["stories"][0]["answer"]["by"] == "wise-1"


def test_a_key_is_sent_only_if_it_is_named(
    judge: JudgeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "mine")
    assert run(judge, "a.jsonl", "--out", "b.json") == 0
    assert set(judge.keys) == {"Bearer none"}
    judge.keys.clear()
    assert run(judge, "a.jsonl", "--key", "OPENAI_API_KEY") == 0
    assert set(judge.keys) == {"Bearer secret"}
    assert "temperature" not in judge.asked[0]
    assert "secret" not in Path("judged.json").read_text() + "".join(capsys.readouterr())


def test_answers_that_cannot_be_read_are_counted(judge: JudgeServer, capsys: pytest.CaptureFixture[str]) -> None:
    bad = iter((GOOD, "Grammar: 8-9/10, Creativity: 5, Consistency: 7, Plot: 5", None))
    judge.answer = lambda messages: graded(messages) if len(messages) == 1 else (200, {}, completion(next(bad)))
    assert run(judge, "a.jsonl", "--at-once", "1") == 0
    measures = judged()["measures"]["a.jsonl"]
    assert (measures["n_graded"], measures["n_unreadable"], measures["grammar"]) == (1, 2, 8)
    assert measures["grammar_standard_error"] is None
    assert (
        "a.jsonl: stories: 3; cut off before their end: 1; answers without readable grades: 2"
        in capsys.readouterr().out
    )
    judge.answer = lambda messages: "I like it."
    assert run(judge, "a.jsonl", "--out", "none.json") == 1
    assert "–" in capsys.readouterr().out


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_may_pass_is_tried_again(judge: JudgeServer, status: int) -> None:
    replies = iter((failure(status, "busy", retry_after="0"), failure(status, "busy", retry_after="0.0")))
    judge.answer = lambda messages: next(replies, graded(messages))
    write_lines("a.jsonl", WRITTEN[:1])
    assert run(judge, "a.jsonl") == 0
    assert len(judge.asked) == 4


@pytest.mark.parametrize(
    ("reply", "n_asked", "line"),
    [
        (failure(401, "who are\nyou?"), 1, "the endpoint: HTTP 401: who are you?"),
        (failure(404, "no model wise"), 1, "the endpoint: HTTP 404: no model wise"),
        (failure(429, "busy", retry_after="0"), 3, "the endpoint: asked 3 times: HTTP 429: busy"),
        (failure(429, "no money", "insufficient_quota"), 1, "the endpoint: HTTP 429: no money"),
        (failure(429, "tomorrow", retry_after="86400"), 1, "the endpoint: HTTP 429: tomorrow"),
        ((502, {"retry-after": "0"}, "<html>bad\ngate"), 3, "the endpoint: asked 3 times: HTTP 502: <html>bad gate"),
        ((200, {}, "<html>hello"), 1, "the endpoint: must answer as OpenAI's chat completions do, got <html>hello"),
        ((200, {}, {"choices": []}), 1, "the endpoint: must answer as OpenAI's chat completions do, got ChatComplet"),
    ],
)
def test_what_is_wrong_for_every_story_ends_the_run_in_one_line(
    judge: JudgeServer, reply: Any, n_asked: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    judge.answer = lambda messages: reply
    assert run(judge, "a.jsonl", "--at-once", "1") == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {line}")
    assert len(judge.asked) == n_asked
    assert not Path("judged.json").exists()


def test_a_refused_story_has_a_line_and_the_others_go_on(
    judge: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse = True
    judge.answer = lambda messages: (
        failure(400, "filtered") if refuse and "a hen" in messages[0]["content"] else graded(messages)
    )
    assert run(judge, "a.jsonl") == 0
    measures = judged()["measures"]["a.jsonl"]
    assert (measures["n_graded"], measures["n_failed"]) == (2, 1)
    assert [row["failure"] for row in judged()["stories"]] == [None, "HTTP 400: filtered", None]
    output = "".join(capsys.readouterr())
    assert "story 2: HTTP 400: filtered" in output
    assert "failed questions: 1" in output
    refuse, n_asked = False, len(judge.asked)
    assert run(judge, "a.jsonl") == 0
    assert len(judge.asked) == n_asked + 2  # only that story is asked about again
    assert judged()["measures"]["a.jsonl"]["n_graded"] == 3


def test_a_stopped_run_goes_on_where_it_was(judge: JudgeServer, capsys: pytest.CaptureFixture[str]) -> None:
    left = 3

    def answer(messages: list[dict[str, str]]) -> Any:
        return graded(messages) if len(judge.asked) <= left else failure(403, "enough")

    judge.answer = answer
    assert run(judge, "a.jsonl", "--at-once", "1") == 1
    assert "1 of 3 answers are in judged.json; the same command goes on there" in capsys.readouterr().err
    assert "measures" not in judged()
    judge.answer = graded
    assert run(judge, "a.jsonl", "--at-once", "1") == 0
    assert len(judge.asked) == 4 + 4  # the refused question is the fourth
    stopped = judged()
    assert run(judge, "a.jsonl", "--out", "whole.json") == 0
    assert stopped == json.loads(Path("whole.json").read_text())
    for words in (["a.jsonl", "--temperature", "1"], ["b.jsonl"]):
        write_lines("b.jsonl", WRITTEN)
        assert run(judge, *words) == 1
        assert "--out: judged.json: must be a new file, or hold the same stories" in capsys.readouterr().err
    assert judged() == stopped


def test_samples_of_the_pipeline_have_a_group_for_each_strategy(
    judge: JudgeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [WRITTEN[0], WRITTEN[2], {"prompt": "", "text": "A cat sat.", "complete": True}]
    Path("base.json").write_text(json.dumps({"samples": rows, "strategies": {"greedy": {"samples": rows}}}))
    judge.answer = lambda messages: (
        graded(messages).replace("8/10", "7/10") if len(judge.asked) > 6 else graded(messages)
    )
    assert run(judge, "base.json", "--at-once", "1") == 0
    groups = judged()["measures"]
    assert list(groups) == ["base.json", "base.json greedy"]
    assert "difference" not in groups["base.json"]
    assert groups["base.json greedy"]["difference"]["grammar"] == -1
    assert groups["base.json greedy"]["difference"]["grammar_standard_error"] == 0
    assert "***" not in judge.asked[4]["messages"][0]["content"]  # without a beginning there is nothing to separate
    assert "-1.00 ± 0.00" in capsys.readouterr().out


def test_a_model_writes_beside_the_true_ends(judge: JudgeServer) -> None:
    write_model(Path("one"), context_length=32)
    documents = ["The fox sat on a log.", "tooshort", "The hen ran to the barn and sang.", "The dog slept all day."]
    Path("valid.txt").write_text("".join(f"{text}\n{END_OF_TEXT}\n" for text in documents))
    assert run(judge, "one", "--corpus", "valid.txt", "--n", "2") == 0
    stories = [row["story"] for row in judged()["stories"]]
    assert [(row["group"], row["beginning"]) for row in stories] == [
        (group, beginning) for group in ("valid.txt", "one") for beginning in ("The fox", "The dog")
    ]  # the text without a blank cannot be cut, and the long one does not fit
    assert [row["text"] for row in stories[:2]] == [" sat on a log.", " slept all day."]
    assert set(judged()["measures"]["one"]["difference"]) >= set(QUALITIES)
    assert run(judge, "one", "--corpus", "valid.txt", "--n", "2") == 0  # the same stories, so nothing is asked
    assert len(judge.asked) == 8


def test_without_the_client_a_line_says_how_to_get_it(
    judge: JudgeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    assert run(judge, "a.jsonl") == 1
    assert capsys.readouterr().err == "error: openai: must be installed: pip install '.[judge]'\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["gone.jsonl"], "gone.jsonl: No such file or directory"),
        (["gone.json"], "gone.json: no such file"),
        (["empty.jsonl"], "empty.jsonl: must hold a story, got none"),
        (["odd.jsonl"], "odd.jsonl:1: must be an object with strings under 'prompt' and 'text'"),
        (["half.jsonl"], "half.jsonl:1: must be Unicode text, got half of a character"),
        (["broken.jsonl"], "broken.jsonl:1: not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        (["list.json"], "list.json: must be a samples/base.json, or end with .jsonl"),
        (["a.jsonl", "a.jsonl"], "SOURCE: must be named once, got the same one twice"),
        (["a.jsonl", "folder"], "SOURCE: must be files or folders of models, got both"),
        (["folder"], "folder/model.safetensors: no such file; name a folder that holds"),
        (["one", "--corpus", "gone.txt"], "--corpus: gone.txt: No such file or directory"),
        (["one", "--corpus", "valid.txt"], "--corpus: valid.txt: must have 50 documents of two words or more that"),
        (["a.jsonl", "--n", "1"], "--n: must be 2 or above, got 1"),
        (["a.jsonl", "--at-once", "0"], "--at-once: must be 1 or above, got 0"),
        (["a.jsonl", "--temperature", "3"], "--temperature: must be from 0 to 2, got 3"),
        (["a.jsonl", "--key", "NO_SUCH"], "--key: NO_SUCH: must be an environment variable that holds the key"),
        (["a.jsonl", "--key", "ODD"], "--key: ODD: must hold printable ASCII characters, got others"),
        (["a.jsonl", "--out", "folder"], "--out: folder: must be a file in a folder that exists"),
        (["a.jsonl", "--out", "list.json"], "--out: list.json: must be a new file or one of this command"),
        (["a.jsonl", "--url", "localhost:80"], "--url: must begin with http:// or https://, got localhost:80"),
        (["a.jsonl", "--url", "http://h:port/v1"], "--url: http://h:port/v1: "),
        (["a.jsonl", "--url", "http://127.0.0.1:1/v1", "--retries", "0"], "the endpoint: asked once: "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    judge: JudgeServer,
    words: list[str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ODD", "clé")
    Path("folder").mkdir()
    write_model(Path("one"), context_length=32)
    Path("valid.txt").write_text(f"The fox sat.\n{END_OF_TEXT}\n")
    Path("empty.jsonl").write_text("\n")
    Path("odd.jsonl").write_text('{"prompt": 1}\n')
    Path("half.jsonl").write_text('{"prompt": "", "text": "\\ud83d"}\n')
    Path("broken.jsonl").write_text("x\n")
    Path("list.json").write_text("[]")
    assert main(["--url", judge.url, "--judge", "wise", *words]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {line}")
    assert not judge.asked
