"""What every command does with words that it does not know: one line, and nothing else."""

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("command", "words", "line"),
    [
        ("export", ["a", "b", "--dtype", "f99"], "--dtype: invalid choice: 'f99' (choose from"),
        ("import", ["a"], "the following arguments are required: out;"),
        ("push", ["a", "b", "--privat"], "--privat: unknown option, did you mean --private?;"),
        ("split", ["tokenizer.json"], "texts: must be one or more, got none;"),
        ("split", ["tokenizer.json", "-x"], "-x: unknown option;"),
        ("unfinished", ["--older-than", "x"], "--older-than: invalid float value: 'x';"),
    ],
)
def test_a_wrong_word_is_one_line(
    command: str, words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        import_module(f"commands.{command}").main(words)
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {line}")
    assert err.count("\n") == 1
