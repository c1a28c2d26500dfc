"""Tests of lm/corpus/dialogues/rows.py."""

import json
from collections import Counter
from typing import Any

import pytest

from lm.corpus.dialogue import Check, Dialogue, Message, dialogue_line
from lm.corpus.dialogues.rows import dialogue_of
from tests.corpus.dialogues.conftest import row, said

PLAIN = Dialogue((Message("user", "Hi!"), Message("assistant", "Hello.")))
KIND = Dialogue((Message("system", "Be kind."), *PLAIN.messages))
HI = {"role": "user", "content": "Hi!"}
HELLO = {"role": "assistant", "content": "Hello."}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"messages": [HI, HELLO]}, PLAIN),
        ({"messages": [{"role": "system", "content": "Be kind."}, HI, HELLO]}, KIND),
        ({"conversations": [{"from": "human", "value": "Hi!"}, {"from": "gpt", "value": "Hello."}]}, PLAIN),
        ({"system": "Be kind.", "conversations": [{"from": "human", "value": "Hi!"}, HELLO]}, KIND),
        ([HI, HELLO], PLAIN),
        ([{"role": " Human ", "content": "Hi!"}, {"speaker": "BOT", "text": "Hello."}], PLAIN),
        ([{"role": "developer", "content": "Be kind."}, HI, {"role": "model", "content": "Hello."}], KIND),
        ([{"role": "user", "content": [{"type": "text", "text": "H"}, "i!"]}, HELLO], PLAIN),
        ([{"role": "user", "content": [{"type": "input_text", "text": "Hi!"}]}, HELLO | {"weight": 1}], PLAIN),
        ([{"role": "system", "content": ""}, HI, HELLO], PLAIN),
        ([{"role": "user", "content": " Hi!\n"}, HELLO | {"tool_calls": None}], PLAIN),
        ({"prompt": "Hi!", "response": "Hello."}, PLAIN),
        ({"prompt": "Hi!", "completion": "Hello.", "system": "Be kind."}, KIND),
        ({"prompt": [HI], "completion": [HELLO]}, PLAIN),
        ({"prompt": "no", "completion": "no", "messages": [HI, HELLO]}, PLAIN),
        ({"instruction": "Hi!", "input": "", "output": "Hello."}, PLAIN),
        ({"instruction": "Hi!", "context": None, "response": "Hello."}, PLAIN),
        ({"question": "Hi!", "answer": "Hello.", "id": 5}, PLAIN),
        ({"system_prompt": "Be kind.", "question": "Hi!", "response": "Hello."}, KIND),
        ({"query": "Hi!", "response": "Hello."}, PLAIN),
        ({"user": "Hi!", "assistant": "Hello."}, PLAIN),
        ({"input": "Hi!", "output": "Hello."}, PLAIN),
    ],
)
def test_the_usual_forms_are_one_dialogue(form: Any, expected: Dialogue) -> None:
    assert dialogue_of(form, "here") == expected


def test_text_beside_a_prompt_belongs_to_it_and_earlier_pairs_come_first() -> None:
    form = {"instruction": "Count.", "input": "1 2 3", "output": "3", "history": [["Hi!", "Hello."]]}
    assert said(dialogue_of(form, "here")) == ["Hi!", "Hello.", "Count.\n\n1 2 3", "3"]


def test_half_a_character_is_replaced_because_no_file_can_hold_it() -> None:
    assert said(dialogue_of(row("a\ud83db", "c"), "here")) == ["a?b", "c"]


def test_messages_of_one_role_are_joined_and_what_nobody_answers_is_left_out_and_both_are_counted() -> None:
    counts = Counter[str]()
    form = [HI, {"role": "user", "content": "There?"}, HELLO, {"role": "gpt", "content": "Yes."}, HI]
    assert said(dialogue_of(form, "here", counts)) == ["Hi!\n\nThere?", "Hello.\n\nYes."]
    assert counts == {"n_joined_messages": 2, "n_unanswered_messages": 1}


def test_what_is_written_for_a_dialogue_with_checks_is_read_again() -> None:
    checked = Dialogue(KIND.messages, (Check(2, "greeting", ("Hello.", "Hi."), ("Hello",)), Check(2, "free")))
    assert dialogue_of(json.loads(dialogue_line(checked)), "here") == checked


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("Hi!", "must be a dialogue: a list of messages, .*, got 'Hi!'"),
        ({"text": "Hi!"}, "must be a dialogue: .*, got the names text"),
        ({}, "must be a dialogue: .*, got the names nothing"),
        ({"prompt": "Hi!", "response": None}, "must be a dialogue: .*, got the names prompt, response"),
        ({"prompt": "Hi!", "response": 5}, "response must be a text, or a list of texts, got 5"),
        ({"messages": "Hi!"}, "messages must be a list of messages, got 'Hi!'"),
        ({"messages": []}, "must have a message of the assistant, got the roles nothing"),
        ([HI], "must have a message of the assistant, got the roles user"),
        ([HELLO, HI], "the user must speak before the assistant, got the roles assistant, user"),
        ([HI, HELLO, {"role": "system", "content": "x"}], "a system message must come first, got the roles user, "),
        ([HI, {"role": "tool", "content": "5"}, HELLO], "message 1: the role must be one of system, .*, got 'tool'"),
        ([HI, {"role": 5, "content": "5"}], "message 1: the role must be one of .*, got 5"),
        ([HI, {"content": "Hello."}], "message 1 must have 'role' and 'content', or .*, got {'content': 'Hello.'}"),
        ([HI, HELLO | {"content": None}], "message 1 must have 'role' and 'content', or "),
        ([HI, HELLO | {"content": " \n"}], r"message 1 must not be blank, got ' \\n'"),
        ([HI | {"content": [{"type": "image_url"}]}, HELLO], "message 0 must be a text, or a list of texts, got "),
        ([HI, HELLO | {"weight": 0}], "message 1: the weight must be 1, because each answer is learnt, got 0"),
        ({"prompt": "a", "response": "b", "history": 5}, "history must be a list, got 5"),
        ({"prompt": "a", "response": "b", "history": [["c"]]}, "history 0 must be a prompt and a response, got "),
        ({"messages": [HI, HELLO], "checks": [{"message": 0, "kind": "a"}]}, "a check must be of a message of the ass"),
        ({"messages": [HI, HELLO], "checks": [{"message": 1}]}, "a check must have the number of a 'message', a"),
        ({"messages": [HI, HELLO], "checks": [{"message": 1, "kind": "a", "words": "b"}]}, "a check must have the"),
        (
            {"messages": [HI, HI, HELLO], "checks": [{"message": 1, "kind": "a"}]},
            "with checks, user and assistant must",
        ),
    ],
)
def test_a_row_that_is_no_dialogue_is_named_with_its_mistake(broken: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^here:? {message}") as error:
        dialogue_of(broken, "here")
    assert "\n" not in str(error.value)
