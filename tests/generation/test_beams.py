"""Tests of lm/generation/beams.py: the texts of `transformers`, and texts that hold what is required."""

import re
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from lm.config.sample import SampleConfig
from lm.formats.transformers import LLAMA, to_transformers
from lm.generation.beams import Beams, beam_search, shared_out
from lm.generation.constraints import Constraints, Rules
from lm.generation.events import End, Event, Token, collect
from lm.generation.generate import generate
from lm.generation.sampling import GREEDY, Sampling
from lm.generation.texts import continuations, continue_prompts
from lm.generation.written import written_texts
from lm.model.transformer import Transformer
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.load import parse_tokenizer
from tests.generation.test_rules import BYTES, config
from tests.model.test_oracles import llama_arguments
from tests.small import WORDS, numpy_twin, random_model, words

VOCAB_SIZE, END_ID = 23, 0
MODEL = random_model(VOCAB_SIZE, context_length=32)
PROMPTS = [[0, 5, 2], [0], [0, 3, 3, 7, 1, 9, 4, 8]]


def llama(model: Transformer) -> Any:
    """The model of transformers with the same weights."""
    config = LlamaConfig(**llama_arguments(model.config) | {"vocab_size": VOCAB_SIZE})
    theirs: Any = LlamaForCausalLM(config)
    weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
    state = {name: torch.from_numpy(a) for name, a in to_transformers(weights, LLAMA, model.table).items()}
    theirs.load_state_dict(state | {"lm_head.weight": state["model.embed_tokens.weight"]})
    return theirs.eval()


THEIRS = llama(MODEL)


def their_texts(prompt: list[int], n: int, max_new_tokens: int, **settings: Any) -> list[list[int]]:
    """The new ids of each text that transformers returns, without the end token and what follows it."""
    generation = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_new_tokens, eos_token_id=END_ID, pad_token_id=END_ID, num_return_sequences=n, **settings
    )
    whole = THEIRS.generate(torch.tensor([prompt]), generation_config=generation)
    texts = [ids[len(prompt) :].tolist() for ids in whole]
    return [ids[: ids.index(END_ID)] if END_ID in ids else ids for ids in texts]


PENALTIES: list[dict[str, Any]] = [{}, {"repetition_penalty": 1.5}, {"no_repeat_ngram": 2}]


@pytest.mark.parametrize("penalties", PENALTIES, ids=str)
def test_greedy_texts_are_those_of_transformers(penalties: dict[str, Any]) -> None:
    sampling = Sampling(temperature=0, **penalties)
    theirs = {("no_repeat_ngram_size" if k == "no_repeat_ngram" else k): v for k, v in penalties.items()}
    for model in (MODEL, numpy_twin(MODEL)):
        texts = collect(generate(model, PROMPTS, sampling, max_new_tokens=20, end_id=END_ID, seed=0), 3)
        assert texts == [their_texts(prompt, 1, 20, do_sample=False, **theirs)[0] for prompt in PROMPTS]


SEARCHES = [
    Beams(2),
    Beams(4, 0.0),
    Beams(5, 2.0),
    Beams(2, 3.0, True),
    Beams(3, -1.0, "never"),
    Beams(4, 1.5, "never"),
]


@pytest.mark.parametrize(("beams", "penalties"), zip(SEARCHES, PENALTIES * 2, strict=True), ids=str)
def test_beams_find_the_texts_of_transformers(beams: Beams, penalties: dict[str, Any]) -> None:
    theirs = {("no_repeat_ngram_size" if k == "no_repeat_ngram" else k): v for k, v in penalties.items()}
    settings = {"length_penalty": beams.length_penalty, "early_stopping": beams.early_stopping, "do_sample": False}
    n, ends = beams.n, dict[str, Any](max_new_tokens=12, end_id=END_ID)
    expected = [text for prompt in PROMPTS for text in their_texts(prompt, n, 12, num_beams=n, **settings, **theirs)]
    for model in (MODEL, numpy_twin(MODEL)):
        found = beam_search(model, PROMPTS, beams, Sampling(**penalties), n_best=n, **ends)
        assert collect(found, n * len(PROMPTS)) == expected


def test_as_many_beams_as_there_are_texts_find_the_likeliest() -> None:
    model = random_model(4, d_model=8, n_heads=1)
    beams = Beams(4**3, length_penalty=0.0, early_stopping="never")
    events = list(beam_search(model, [[1]], beams, GREEDY, max_new_tokens=3, end_id=END_ID, n_best=5))
    scores = {}
    for ids in product(range(4), repeat=3):
        text = ids[: ids.index(0) + 1] if 0 in ids else ids
        logprobs = model(torch.tensor([[1, *text[:-1]]])).log_softmax(-1)[0].detach().double()
        scores[text] = float(logprobs[range(len(text)), list(text)].sum())
    best = sorted(scores, key=lambda text: -scores[text])[:5]
    assert collect(events, 5) == [[id for id in text if id] for text in best]
    found = [event.score for event in events if isinstance(event, End)]
    assert found == pytest.approx([scores[text] for text in best], abs=1e-4)  # logits of size 10 in float32


def test_a_text_longer_than_the_context_goes_on_as_a_greedy_one() -> None:
    model = random_model(VOCAB_SIZE, context_length=4)
    with torch.no_grad():
        model.embedding.weight[END_ID] = 0
    for prompt in ([0, 5], [0, 3, 3, 7, 1, 9, 4, 8]):
        greedy = generate(model, [prompt], GREEDY, max_new_tokens=15, end_id=END_ID, seed=0)
        one = beam_search(model, [prompt], Beams(1), GREEDY, max_new_tokens=15, end_id=END_ID)
        assert collect(one, 1) == collect(greedy, 1)


def test_tokens_of_the_best_texts_report_their_probabilities() -> None:
    events = list(
        beam_search(MODEL, PROMPTS, Beams(3, 0.0), GREEDY, max_new_tokens=6, end_id=END_ID, n_best=2, logprobs=2)
    )
    assert len(events) > 20
    for row in range(6):
        tokens = [event for event in events if isinstance(event, Token) and event.row == row]
        (end,) = (event for event in events if isinstance(event, End) and event.row == row)
        assert end.reason in ("model", "length")
        text = list(PROMPTS[row // 2])
        total = 0.0
        for token in tokens:
            logprobs = MODEL(torch.tensor([text]))[0, -1].log_softmax(-1)
            assert token.logprob == pytest.approx(float(logprobs[token.id]), abs=1e-4)
            assert [id for id, _ in token.alternatives] == logprobs.topk(2).indices.tolist()
            total += float(logprobs[token.id])
            text.append(token.id)
        if end.reason == "length":
            assert end.score == pytest.approx(total, abs=1e-3)


WRITER = random_model(BYTES.vocab_size, context_length=16)


def found(**changes: Any) -> tuple[list[str], list[Event]]:
    """The texts for one prompt, and the events."""
    settings: SampleConfig = config(prompts=["the cat"], beams=4, samples=2, max_new_tokens=20, **changes)
    events = list(continue_prompts(WRITER, BYTES, settings, end_id=BYTES.end_id, seed=0))
    texts = written_texts(BYTES, settings.prompts, events, samples=2, stop=settings.stop)
    return [text.text for text in texts], events


@pytest.mark.parametrize(
    "words",
    [["fox"], ["fox", "hen"], ["a hen", "hen", "hen"], ["the fox met", "dog"], ["a b c d", "d c b a"], ["!", "é"]],
)
def test_every_text_holds_the_words_that_are_required(words: list[str]) -> None:
    texts, events = found(require=words)
    for text in texts:
        for word in words:
            assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)" if word != "!" else "!", text), text
    assert {event.reason for event in events if isinstance(event, End)} <= {"model", "length"}
    # As many tokens as the words take are enough.
    n = len("".join(f" {word}" for word in words).encode())
    shortest = config(prompts=["the cat"], beams=2, max_new_tokens=n, require=words)
    events = list(continue_prompts(numpy_twin(WRITER), BYTES, shortest, end_id=BYTES.end_id, seed=0))
    (text,) = continuations(BYTES, ["the cat"], events)
    assert all(word in text for word in words)


def test_what_is_required_and_what_is_forbidden_hold_together_and_a_stop_string_ends_a_text() -> None:
    plain, _ = found(require=["fox"])
    common = sorted(set("".join(plain).encode().decode(errors="ignore")) & set("!#$%&()*+,-./:;<=>?@[]^_{|}~"))
    texts, _ = found(require=["fox"], forbid=[*common, "x ", "xx"], stop=["f."])
    for text in texts:
        assert "fox" in text
        assert not set(text) & set(common)
        assert "x " not in text


def test_among_texts_with_a_word_the_likelier_are_found() -> None:
    # The beam is wide enough for every text.
    tokenizer = parse_tokenizer(words().to_str())
    model = random_model(tokenizer.vocab_size, d_model=8, n_heads=1)
    rules = Rules(Constraints(require=("fox",), forbid=("hen",)), tokenizer, max_new_tokens=3)
    events = list(
        beam_search(
            model, [[1, 7]], Beams(10**3, 0.0, "never"), GREEDY, max_new_tokens=3, end_id=1, n_best=4, rules=rules
        )
    )
    fox, hen = WORDS.index("fox"), WORDS.index("hen")
    scores = {}
    every = torch.tensor(list(product(range(10), repeat=3)))
    start = torch.tensor([[1, 7]]).expand(len(every), 2)
    logprobs = model(torch.cat([start, every[:, :-1]], dim=1))[:, 1:].log_softmax(-1).detach().double()
    of_tokens = logprobs.gather(2, every[:, :, None])[:, :, 0].tolist()
    for ids, of_ids in zip(every.tolist(), of_tokens, strict=True):
        text = tuple(ids[: ids.index(1) + 1] if 1 in ids else ids)
        if fox in text and hen not in text:
            scores[text] = sum(of_ids[: len(text)])
    best = sorted(scores, key=lambda text: -scores[text])[:4]
    assert collect(events, 4) == [[id for id in text if id != 1] for text in best]


# From one token to the next, with its probability.
CHAIN = {(1, 2): 0.6, (1, 0): 0.3, (1, 3): 0.1, (2, 4): 0.95, (2, 0): 0.05, (3, 0): 0.95, (3, 4): 0.05, (4, 0): 1.0}


class Chain:
    """A model, and its session, whose next token depends on the last one alone: a likely text that ends late."""

    config = MODEL.config

    def session(self, batch_size: int) -> "Chain":
        assert batch_size == 1
        self.lengths = np.zeros(1, np.int64)
        return self

    @property
    def length(self) -> int:
        return int(self.lengths[0])

    def read(self, ids: NDArray[np.int64], last: int | None = None) -> NDArray[np.float64]:
        self.lengths = self.lengths + ids.shape[1]
        rows = [[CHAIN.get((int(id), following), 1e-30) for following in range(5)] for id in ids[:, -1]]
        return np.log(rows)[:, None]

    def select(self, rows: Sequence[int]) -> None:
        self.lengths = self.lengths[list(rows)]

    def read_states(self, ids: Any) -> Any: ...
    def refill(self, rows: Any, texts: Any) -> None: ...
    def rewind(self, n_positions: Any) -> None: ...


@pytest.mark.parametrize(
    ("length_penalty", "early_stopping", "texts"),
    [
        # After two tokens the texts [] and [3] are finished. A better one, [2, 4], ends with the third token.
        (1.0, True, [[3], []]),
        (1.0, False, [[2, 4], [3]]),
        (1.0, "never", [[2, 4], [3]]),
        # Now a long text is a bad one: [2, 4] is worse than [], yet better than [3], which is what must be seen.
        (-1.0, True, [[], [3]]),
        (-1.0, False, [[], [2, 4]]),
        (-1.0, "never", [[], [2, 4]]),
    ],
)
def test_a_search_ends_when_its_rule_says(length_penalty: float, early_stopping: Any, texts: list[list[int]]) -> None:
    beams = Beams(2, length_penalty, early_stopping)
    events = beam_search(Chain(), [[1]], beams, GREEDY, max_new_tokens=10, end_id=0, n_best=2)
    assert collect(events, 2) == texts


def test_the_shorter_of_two_spellings_counts() -> None:
    # After a word " abcd" takes the tokens " a", "bc" and "d"; after a space "abcd" takes "ab" and "cd".
    parts = [b"<|endoftext|>", *(bytes([byte]) for byte in range(256)), b" a", b"ab", b"bc", b"cd"]
    pairs = [(parts.index(part[:1]), parts.index(part[1:])) for part in parts[-4:]]
    tokenizer = BpeTokenizer(parts, pairs, {"<|endoftext|>": 0})
    assert [len(tokenizer.encode(text)) for text in (" abcd", "abcd")] == [3, 2]
    rules = Rules(Constraints(require=("abcd",)), tokenizer, max_new_tokens=3)
    assert rules.n_required == 3
    state = rules.start(tokenizer.encode("x"))
    progress = [rules.progress(state)]
    for token in (b" ", b"ab", b"cd"):
        state = rules.after(state, parts.index(token))
        progress.append(rules.progress(state))
    assert progress == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("n", "sizes", "slots"),
    [
        (4, {0: 9}, {0: 4}),
        (5, {0: 9, 1: 9, 2: 9}, {0: 1, 1: 1, 2: 3}),
        (6, {0: 9, 1: 1, 2: 9}, {0: 2, 1: 1, 2: 3}),
        (2, {0: 9, 1: 9, 2: 9}, {0: 0, 1: 1, 2: 1}),
        (3, {0: 1, 1: 0, 2: 1}, {0: 1, 1: 0, 2: 1}),
        (3, {}, {}),
    ],
)
def test_beams_are_shared_out(n: int, sizes: dict[int, int], slots: dict[int, int]) -> None:
    assert shared_out(n, sizes) == slots


def test_a_search_that_finds_no_text_is_stuck() -> None:
    sampling = Sampling(no_repeat_ngram=1)
    events = list(beam_search(MODEL, [list(range(VOCAB_SIZE))], Beams(2), sampling, max_new_tokens=5, end_id=END_ID))
    assert events == [End(0, "stuck")]
