"""Tests of lm/generation/texts.py: what is shown of a text that a model has written."""

from lm.generation.events import End, Event, Token
from lm.generation.texts import continuation, continuations
from lm.tokenizer.learning import bytes_alone
from tests.small import tokenizer_config

BYTES = bytes_alone(tokenizer_config(kind="byte"))


def events(text: bytes, *, complete: bool, row: int = 0) -> list[Event]:
    return [
        *(Token(row, BYTES.encode_block(bytes([byte]))[0].item()) for byte in text),
        End(row, "model" if complete else "length"),
    ]


def test_half_a_character_at_the_end_is_shown_if_the_model_ended_the_text_there_and_left_out_if_the_limit_did() -> None:
    half = "a é".encode()[:-1]
    assert "".join(continuation(BYTES, "the", events(half, complete=False))) == "a "
    assert "".join(continuation(BYTES, "the", events(half, complete=True))) == "a \ufffd"
    assert "".join(continuation(BYTES, "the", events(b"a\xc3b", complete=False))) == "a\ufffdb"  # no character at all
    assert "".join(continuation(BYTES, "the", events("é".encode(), complete=False))) == "é"


def test_each_row_gets_the_text_of_its_own_tokens() -> None:
    first, second = events("é!".encode(), complete=True), events("狐狸".encode()[:-1], complete=False, row=1)
    mixed = [event for pair in zip(first, second, strict=False) for event in pair] + second[len(first) :]
    assert continuations(BYTES, ["the", "a"], mixed) == ["é!", "狐"]
    assert list(continuation(BYTES, "the", first)) == ["", "é", "!", ""]
