"""Tests of lm/analysis/chat.py."""

import math
from functools import cache

import numpy as np
import pytest
import torch

from lm.analysis.chat import Answer, answers, as_json, as_markdown, grade, is_right, loss_of_answers, uses_words
from lm.config.special_tokens import CHAT_TOKENS
from lm.corpus.dialogue import Check, Dialogue, Message
from lm.corpus.dialogues.stories import story_dialogues
from lm.generation.conversation import fitted_prompt, reply
from lm.generation.events import collect
from lm.generation.sampling import GREEDY, Sampling
from lm.model.reader import Reader
from lm.tokenizer.counting import count_texts
from lm.tokenizer.learning import learn_bpe
from lm.tokenizer.tokenizer import Tokenizer
from lm.training.dialogues import encode_dialogues
from tests.small import DOCUMENTS, random_model, tokenizer_config

TALK = Dialogue(
    (
        Message("user", "Who lost it?"),
        Message("assistant", "Lily lost it."),
        Message("user", "A story with the words cat and ice cream."),
        Message("assistant", "(a story)"),
    ),
    (Check(1, "who", ("Lily lost it.", "It was Lily.")), Check(3, "story", (), ("cat", "ice cream"))),
)


@cache
def bpe() -> Tokenizer:
    return learn_bpe(count_texts(DOCUMENTS), tokenizer_config(special_tokens=list(CHAT_TOKENS)))


@cache
def made_up() -> tuple[Dialogue, ...]:
    return tuple(story_dialogues(3, "valid", 6, 1400))


def test_true_answers_are_right_and_spoilt_ones_are_not() -> None:
    for dialogue in made_up():
        for check in dialogue.checks:
            said = dialogue.messages[check.message].content
            assert is_right(check, said)
            assert not is_right(check, said.replace(".", "", 1) if check.kind == "story" else f"{said} And so on.")
            assert not is_right(check, "")
            assert all(uses_words(check, said))
            assert not any(uses_words(check, "Nothing of this."))


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("A cat ate ice cream.", [True, True]),
        ("The Cat's ice  cream", [True, False]),
        ("Two cats and some ice creams", [False, False]),
        ("cat", [True, False]),
        ("a bobcat with nice cream", [False, False]),
    ],
)
def test_a_word_counts_as_a_whole(text: str, used: list[bool]) -> None:
    assert uses_words(TALK.checks[1], text) == used


def test_shares_are_of_what_is_known_with_dialogues_as_draws() -> None:
    given = [
        Answer(0, 1, "It was Lily.", ended=True),
        Answer(0, 3, "a cat", ended=False),
        Answer(1, 1, "Tom lost it.", ended=True),
        Answer(1, 3, "cat, cat, ice cream, cat, cat, ice cream", ended=True),
    ]
    figures = grade([TALK, TALK], given)
    assert figures["n_answers"] == 4
    assert figures["right_answers"] == 0.5
    assert figures["right_answers_standard_error"] == pytest.approx(0.5)  # two draws, 0 and 1
    assert figures["right_by_kind"] == {"who": {"right": 0.5, "right_standard_error": pytest.approx(0.5)}}
    assert figures["words_used"] == 0.75
    assert figures["stories_in_the_grammar"] == 0
    assert figures["ends_itself"] == 0.75
    # Three answers have four words in a row; one of them has ten fours, of which three came before.
    assert figures["repetition_4"] == pytest.approx(0.3 / 3)
    unknown = Dialogue(TALK.messages)
    assert grade([unknown], given[:1])["right_answers"] is None
    assert grade([unknown], given[:1])["right_by_kind"] == {}
    assert grade([unknown], [])["ends_itself"] is None
    free = grade([Dialogue(TALK.messages, (Check(1, "words", words=("Lily", "cat")),))], given[:1])
    assert (free["words_used"], free["right_answers"], free["right_by_kind"]) == (0.5, None, {})


def test_stories_of_one_dialogue_are_one_draw_as_answers_are() -> None:
    told = [
        dialogue.messages[check.message].content
        for dialogue in made_up()
        for check in dialogue.checks
        if check.kind == "story"
    ]
    kinds = {1: "story", 3: "who", 5: "story", 7: "who"}
    talk = Dialogue(
        (Message("user", "Tell."), Message("assistant", "Yes.")) * 4,
        tuple(Check(place, kind, () if kind == "story" else ("Yes.",)) for place, kind in kinds.items()),
    )
    right = {place: told[0] if kind == "story" else "Yes." for place, kind in kinds.items()}
    given = [Answer(0, place, text, True) for place, text in right.items()]
    given += [Answer(1, place, "No.", True) for place in kinds]
    figures = grade([talk, talk], given)
    assert figures["stories_in_the_grammar"] == figures["right_answers"] == 0.5
    assert figures["stories_in_the_grammar_standard_error"] == figures["right_answers_standard_error"] > 0.3


def test_the_loss_is_that_of_torch_over_what_the_assistant_says() -> None:
    model = random_model(bpe().vocab_size, context_length=1500)
    encoded = encode_dialogues(bpe(), made_up(), 1500).dialogues
    n_bytes = np.array([one.n_bytes(bpe()) for one in encoded])
    whole = [d for d in made_up() if len(encode_dialogues(bpe(), [d], 5000).dialogues[0].ids) <= 1501]
    assert whole
    for dialogue, one in zip(made_up(), encoded, strict=True):
        if dialogue in whole:
            said = "".join(message.content for message in dialogue.messages if message.role == "assistant")
            assert one.n_bytes(bpe()) == len(said.encode())
    total, count = 0.0, 0
    for one in encoded:
        ids = torch.from_numpy(one.ids)
        targets = torch.where(torch.from_numpy(one.weights[1:]) > 0, ids[1:], -100)
        with torch.no_grad():
            total += float(torch.nn.functional.cross_entropy(model(ids[None, :-1])[0], targets, reduction="sum"))
        count += int((targets != -100).sum())
    for batch_size in (1, 4):
        figures = loss_of_answers(model, encoded, n_bytes, batch_size)
        assert figures["loss"] == pytest.approx(total / count, rel=1e-5)
        assert figures["bits_per_byte"] == pytest.approx(total / math.log(2) / n_bytes.sum(), rel=1e-5)
        assert figures["n_tokens"] == count


def test_answers_follow_the_true_messages_and_what_does_not_fit_has_none() -> None:
    model = Reader(random_model(bpe().vocab_size, context_length=32))
    long = Dialogue((Message("user", "the " * 60), Message("assistant", "yes")))
    short = Dialogue(tuple(Message(role, text) for role, text in [("user", "the"), ("assistant", "a")] * 2))  # type: ignore[arg-type]
    told: list[int] = []
    given = answers(model, bpe(), [long, short], GREEDY, max_new_tokens=6, batch_size=1, seed=5, progress=told.append)
    assert [(answer.dialogue, answer.message) for answer in given] == [(1, 1), (1, 3)]
    assert told == [1, 1]
    for answer in given:
        prompt = fitted_prompt(bpe(), short.messages[: answer.message], 32)
        (drawn,) = collect(reply(model, bpe(), [prompt], GREEDY, max_new_tokens=6, seed=0), 1)
        assert answer.text == bpe().decode(drawn)
        assert answer.ended == (len(drawn) < 6)
    assert [len(row["answers"]) for row in as_json([long, short], given)] == [0, 2]


def test_a_question_that_comes_twice_has_draws_of_its_own() -> None:
    model = Reader(random_model(bpe().vocab_size, context_length=32))
    one = Dialogue((Message("user", "the"), Message("assistant", "a")))
    first, second = answers(model, bpe(), [one, one], Sampling(), max_new_tokens=6, batch_size=1, seed=5)
    assert first.text != second.text


def test_the_page_shows_the_answer_beside_the_true_one() -> None:
    page = as_markdown(
        [TALK], [Answer(0, 1, "Lily lost it.", ended=True), Answer(0, 3, "Once\nmore", ended=False)], "Chat"
    )
    assert page.startswith("# Chat\n")
    assert "> **assistant**: Lily lost it.\n\nThe model says the same.\n" in page
    assert "The model says:\n\n> > Once\n> > more …\n" in page
