"""Tests of lm/corpus/dialogue.py."""

from pathlib import Path

from lm.corpus.dialogue import Check, Dialogue, Message, read_dialogues, write_dialogues

PLAIN = Dialogue((Message("user", "Hi, “you”!\u2028\r\n"), Message("assistant", "Hello.")))
CHECKED = Dialogue(
    (Message("system", "Be kind."), Message("user", "Who?"), Message("assistant", "Lily.")),
    (Check(2, "who", ("Lily.", "It was Lily."), ("Lily",)),),
)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "dialogues.jsonl"
    assert write_dialogues(path, iter([PLAIN, CHECKED])) == 2
    assert list(read_dialogues(path)) == [PLAIN, CHECKED]
    first = path.read_bytes().splitlines()[0]
    assert first.startswith('{"messages": [{"role": "user", "content": "Hi, “you”!'.encode())
    assert b"checks" not in first
