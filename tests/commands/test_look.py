"""The command that looks inside a model."""

from pathlib import Path

import pytest

from commands.look.__main__ import main
from tests.small import write_model


def test_a_page_is_written_and_the_terminal_shows_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "one")
    write_model(tmp_path / "two", norm_position="post")
    (tmp_path / "texts").write_text("The fox.\n\nThe hen.\n")
    monkeypatch.chdir(tmp_path)
    assert main(["one", "a red ball", "--beside", "two", "--patch", "a red bell", "--texts", "texts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "look.html"
    of_each = ["tokens", "loss", "next", "heads"]
    assert [line.split()[0] for line in lines[:-1]] == ["one:", *of_each, "two:", *of_each]
    page = (tmp_path / "look.html").read_text()
    for title in ("Where each head looks", "Which head carries the answer", "What each part is worth"):
        assert page.count(title) == 2
    # The same again gives the same bytes, elsewhere too.
    assert main(["one", "a red ball", "--beside=two", "--patch=a red bell", "--texts=texts", "--out", "o.html"]) == 0
    assert (tmp_path / "o.html").read_text() == page


def test_an_empty_text_and_one_that_begins_with_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    assert main(["one", ""]) == 0
    assert "next" in capsys.readouterr().out
    assert main(["one", "--", "--" + 30 * "x"]) == 0
    assert "the model sees 16 tokens at once, so 17 before them are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["one"], "TEXT: must be one text, in quotes, got 0"),
        (["none", "a"], "none: no such file; name a folder that holds model.safetensors, or a model file"),
        (["one", "abc", "--patch", "ab"], "--patch: must have as many tokens as the text, 4, got 3"),
        (["one", "a", "--texts", "gone"], "--texts: gone: No such file or directory"),
        (["one", "a", "--texts", "empty"], "--texts: empty: must hold a document, got none"),
        (["one", "a", "--out", "empty/x.html"], "--out: empty/x.html: must be a file in a folder that exists"),
        (["one", "a", "--out", "one"], "--out: one: must be a file in a folder that exists"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    write_model(tmp_path / "one")
    (tmp_path / "empty").write_text("\n")
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert capsys.readouterr().err == f"error: {line}\n"
    assert not (tmp_path / "look.html").exists()
