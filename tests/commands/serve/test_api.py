"""The server as OpenAI's own client sees it. Every text must be the one that `generate` writes with that seed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from lm.corpus.dialogue import Message
from lm.generation.constraints import Constraints, Rules
from lm.generation.conversation import end_of_turn, fitted_prompt, never_said
from lm.generation.events import End, Token
from lm.generation.generate import generate
from lm.generation.sampling import Sampling
from lm.generation.texts import GrowingText
from tests.commands.serve.running import MAX_TOKENS, Running, chat_model, halting, wait_for_none

HELLO: Any = [{"role": "user", "content": "Tell me a story."}]
SAMPLING = Sampling(temperature=0.9, top_p=0.8, frequency_penalty=0.2, presence_penalty=0.1)
ASKED: dict[str, Any] = {"temperature": 0.9, "top_p": 0.8, "frequency_penalty": 0.2, "presence_penalty": 0.1}


def written(
    chat: Running,
    messages: Any,
    seed: int,
    max_tokens: int,
    samples: int = 1,
    stop: list[str] | None = None,
    sampling: Sampling = SAMPLING,
) -> list[tuple[str, str]]:
    """What `generate` answers, and why each answer ends."""
    model, tokenizer, card = chat.trained
    said = [Message(message["role"], message["content"]) for message in messages]
    constraints = Constraints(stop=tuple(stop or ()))
    rules = Rules(constraints, tokenizer, max_new_tokens=max_tokens) if stop else None
    events = generate(
        model,
        [fitted_prompt(tokenizer, said, card.config.context_length).ids],
        sampling,
        max_new_tokens=max_tokens,
        end_id=end_of_turn(tokenizer),
        never=never_said(tokenizer),
        seed=seed,
        samples=samples,
        rules=rules,
    )
    texts, reasons = [""] * samples, [""] * samples
    growing = [GrowingText(tokenizer, (), stop or ()) for _ in range(samples)]
    for event in events:
        texts[event.row] += growing[event.row].add(event)
        if isinstance(event, End):
            reasons[event.row] = "length" if event.reason == "length" else "stop"
    return list(zip(texts, reasons, strict=True))


def test_a_message_is_the_one_that_generate_writes_with_the_same_seed(chat: Running) -> None:
    for seed in range(2):
        answer = chat.client.chat.completions.create(
            model="tiny-chat", messages=HELLO, max_tokens=20, seed=seed, **ASKED
        )
        (choice,) = answer.choices
        assert [(choice.message.content, choice.finish_reason)] == written(chat, HELLO, seed, 20)
        assert (answer.object, choice.index, choice.message.role) == ("chat.completion", 0, "assistant")
        assert answer.usage
        assert answer.usage.prompt_tokens == 4 + len("Tell me a story.")
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        assert answer.dropped_messages == 0
    one, other = (
        chat.client.chat.completions.create(model="tiny-chat", messages=HELLO, max_completion_tokens=12)
        for _ in range(2)
    )
    assert one.choices[0].message.content != other.choices[0].message.content  # without a seed


def test_the_pieces_of_a_stream_are_the_whole_answer_in_the_api_s_order(chat: Running) -> None:
    stream = chat.client.chat.completions.create(
        model="tiny-chat",
        messages=HELLO,
        max_tokens=24,
        seed=3,
        n=2,
        stop=["4", "zz"],
        logprobs=True,
        top_logprobs=2,
        stream=True,
        stream_options={"include_usage": True},
        **ASKED,
    )
    chunks = list(stream)
    expected = written(chat, HELLO, 3, 24, samples=2, stop=["4", "zz"])
    assert len({chunk.id for chunk in chunks}) == 1
    for index in range(2):
        own = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert own[0].delta.role == "assistant"
        text = "".join(choice.delta.content or "" for choice in own)
        assert (text, own[-1].finish_reason) == expected[index]
        assert all(choice.finish_reason is None for choice in own[:-1])
        tokens = [token for choice in own if choice.logprobs for token in choice.logprobs.content or []]
        spelled = b"".join(bytes(token.bytes or []) for token in tokens).decode(errors="replace")
        assert spelled.startswith(text) or text.startswith(spelled.rstrip("\ufffd"))
        assert all(len(token.top_logprobs) == 2 for token in tokens)
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens >= 2
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_log_probabilities_are_those_of_the_model(chat: Running) -> None:
    answer = chat.client.chat.completions.create(
        model="tiny-chat", messages=HELLO, max_tokens=12, seed=1, logprobs=True, top_logprobs=3
    )
    model, tokenizer, _ = chat.trained
    prompt = fitted_prompt(tokenizer, [Message("user", "Tell me a story.")], 96).ids
    events = generate(
        model,
        [prompt],
        Sampling(),
        max_new_tokens=12,
        end_id=end_of_turn(tokenizer),
        never=never_said(tokenizer),
        seed=1,
        logprobs=3,
    )
    tokens = [event for event in events if isinstance(event, Token)]
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert logprobs.content
    assert [token.bytes for token in logprobs.content] == [list(tokenizer.token_bytes(token.id)) for token in tokens]
    for given, token in zip(logprobs.content, tokens, strict=True):
        assert given.logprob == token.logprob
        assert [(likely.bytes, likely.logprob) for likely in given.top_logprobs] == [
            (list(tokenizer.token_bytes(id)), logprob) for id, logprob in token.alternatives
        ]
        assert given.token == tokenizer.decode([token.id])


def test_many_at_once_get_what_each_would_get_alone(chat: Running) -> None:
    def ask(seed: int) -> tuple[str | None, str]:
        words: Any = [{"role": "user", "content": f"Number {seed % 7}"}]
        answer = chat.client.chat.completions.create(
            model="tiny-chat", messages=words, max_tokens=3 + 4 * (seed % 4), seed=seed, temperature=0.7
        )
        return answer.choices[0].message.content, answer.choices[0].finish_reason

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    for seed, answer in enumerate(answers):
        words: Any = [{"role": "user", "content": f"Number {seed % 7}"}]
        assert [answer] == written(chat, words, seed, 3 + 4 * (seed % 4), sampling=Sampling(temperature=0.7))


def test_messages_in_every_form_and_old_ones_that_no_longer_fit(chat: Running) -> None:
    turns: Any = [{"role": "user", "content": "x" * 20}, {"role": "assistant", "content": "y" * 20}] * 2
    messages = [{"role": "system", "content": "Be kind."}, *turns, {"role": "user", "content": "And now?"}]
    answer = chat.client.chat.completions.create(model="tiny-chat", messages=messages, max_tokens=9, seed=5, **ASKED)
    assert answer.dropped_messages == 2
    assert [(answer.choices[0].message.content, "length")] == written(chat, messages, 5, 9)
    parts: list[Any] = [
        {"role": "developer", "content": "Be kind."},
        *turns[2:],
        {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "now?"}]},
    ]
    parts[2] = parts[2] | {"refusal": None, "tool_calls": None, "annotations": []}  # as clients send answers back
    same = chat.client.chat.completions.create(model="tiny-chat", messages=parts, max_tokens=9, seed=5, **ASKED)
    assert same.choices[0].message.content == answer.choices[0].message.content


def test_texts_are_continued(base: Running) -> None:
    model, tokenizer, card = base.trained
    prompts = ["Once upon", ""]
    answer = base.client.completions.create(
        model="tiny", prompt=prompts, max_tokens=10, seed=4, n=2, logprobs=2, temperature=0.5
    )
    events = list(
        generate(
            model,
            [[card.end_id, *tokenizer.encode(prompt)] for prompt in prompts],
            Sampling(temperature=0.5),
            max_new_tokens=10,
            end_id=card.end_id,
            seed=4,
            samples=2,
            logprobs=2,
        )
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    for choice in answer.choices:
        tokens = [event for event in events if isinstance(event, Token) and event.row == choice.index]
        assert choice.logprobs
        assert choice.logprobs.tokens
        assert choice.logprobs.token_logprobs == [token.logprob for token in tokens]
        spelled = b"".join(tokenizer.token_bytes(token.id) for token in tokens).decode(errors="replace")
        assert spelled.rstrip("\ufffd") == choice.text.rstrip("\ufffd")
        for name, token in zip(choice.logprobs.tokens, tokens, strict=True):
            assert name in (tokenizer.decode([token.id]), f"bytes:\\x{tokenizer.token_bytes(token.id)[0]:02x}")
    assert answer.usage
    assert answer.usage.prompt_tokens == 2 + len("Once upon")
    streamed = base.client.completions.create(model="tiny", prompt="Once upon", seed=4, temperature=0.5, stream=True)
    text = "".join(chunk.choices[0].text for chunk in streamed)
    assert text.startswith(answer.choices[0].text.rstrip("\ufffd"))
    long = base.client.completions.create(model="tiny", prompt="x" * 300, max_tokens=1)
    assert long.dropped_tokens == 245  # type: ignore[attr-defined]


def test_the_model_is_listed(chat: Running, base: Running) -> None:
    (model,) = chat.client.models.list().data
    assert (model.id, model.owned_by, model.chats, model.context_length) == (  # type: ignore[attr-defined]
        "tiny-chat",
        "storyline",
        True,
        96,
    )
    assert base.client.models.retrieve("tiny").chats is False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "kind", "param", "message"),
    [
        ({"model": "other"}, openai.NotFoundError, "model", "model: other is not here; there is tiny-chat"),
        ({"temperature": 3}, openai.BadRequestError, "temperature", "temperature: must be less than or equal to 2"),
        ({"max_tokens": 201}, openai.BadRequestError, "max_tokens", "max_tokens: must be at most 200, got 201"),
        ({"n": 9}, openai.BadRequestError, "n", "n: must give at most 8 texts with all prompts, got 9"),
        ({"top_logprobs": 2}, openai.BadRequestError, "top_logprobs", "only allowed when logprobs is true"),
        ({"messages": []}, openai.BadRequestError, "messages", "at least 1 item"),
        ({"response_format": {"type": "json_object"}}, openai.BadRequestError, "response_format", "cannot do that"),
        ({"extra_body": {"knobs": 1}}, openai.BadRequestError, "knobs", "knobs: unrecognized request argument"),
        ({"extra_body": {"typical_p": 0}}, openai.BadRequestError, "typical_p", "greater than 0"),
        ({"stop": [""]}, openai.BadRequestError, "stop[0]", "at least 1 character"),
        (
            {"messages": [{"role": "user", "content": "x" * 90}]},
            openai.BadRequestError,
            "messages",
            "message: must have at most 88 tokens",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, openai.BadRequestError, "messages[0].role", "'system'"),
    ],
)
def test_what_cannot_be_is_refused_in_the_form_of_the_api(
    chat: Running, changes: dict[str, Any], kind: type[openai.APIStatusError], param: str, message: str
) -> None:
    with pytest.raises(kind) as refused:
        chat.client.chat.completions.create(**({"model": "tiny-chat", "messages": HELLO, "max_tokens": 3} | changes))
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert message in str(refused.value)


def test_fields_that_ask_for_nothing_are_taken(chat: Running) -> None:
    answer = chat.client.chat.completions.create(
        model="tiny-chat",
        messages=HELLO,
        max_tokens=3,
        temperature=0,
        top_p=0,
        user="somebody",
        metadata={"a": "b"},
        response_format={"type": "text"},
        logit_bias={},
        tools=[],
        store=False,
        extra_body={"top_k": 3, "stream_options": None},
    )
    greedy = [(answer.choices[0].message.content, "length")]
    assert greedy == written(chat, HELLO, 0, 3, sampling=Sampling(temperature=0))


def test_a_base_model_does_not_chat_and_says_so(base: Running) -> None:
    with pytest.raises(openai.BadRequestError, match="has not learned to chat; use /v1/completions"):
        base.client.chat.completions.create(model="tiny", messages=HELLO)


def test_a_client_that_leaves_takes_its_texts_along(tmp_path: Path) -> None:
    with halting(chat_model(tmp_path), "tiny-chat", max_texts=2, max_waiting=1) as (running, model):
        client = running.client
        asked: dict[str, Any] = {"model": "tiny-chat", "messages": HELLO, "max_tokens": MAX_TOKENS, "n": 2, "seed": 0}
        model.allow(3)
        with client.chat.completions.create(**asked, stream=True, temperature=2) as stream:
            next(stream)
            assert running.service.engine.n_texts == 2
            with client.chat.completions.create(model="tiny-chat", messages=HELLO, stream=True):
                with pytest.raises(openai.RateLimitError, match="too many texts") as full:
                    client.chat.completions.create(model="tiny-chat", messages=HELLO)
                assert (full.value.type, full.value.code) == ("rate_limit_error", "rate_limit_exceeded")
        wait_for_none(running, model)
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.2).chat.completions.create(**asked)
        wait_for_none(running, model)
        model.free()
        assert client.chat.completions.create(model="tiny-chat", messages=HELLO, max_tokens=1).id


def test_an_answer_that_takes_too_long_ends(tmp_path: Path) -> None:
    with halting(chat_model(tmp_path), "tiny-chat", seconds=0.3) as (running, model):
        asked: dict[str, Any] = {"model": "tiny-chat", "messages": HELLO, "max_tokens": MAX_TOKENS, "seed": 0}
        model.allow(3)
        with pytest.raises(openai.InternalServerError, match=r"longer than 0\.3 seconds") as late:
            running.client.chat.completions.create(**asked)
        assert late.value.status_code == 504
        model.allow(3)
        with pytest.raises(openai.APIError, match=r"longer than 0\.3 seconds"):
            list(running.client.chat.completions.create(**asked, stream=True))
        wait_for_none(running, model)
