"""Sessions against reading the whole text at once, in PyTorch and in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lm.config.model import ModelConfig
from lm.generation.events import collect
from lm.generation.generate import generate
from lm.generation.sampling import GREEDY, Sampling
from lm.generation.session import LanguageModel, Session
from tests.model.configs import VOCAB_SIZE, configs, random_model, small_config
from tests.small import numpy_twin


@pytest.mark.parametrize("library", ["torch", "numpy"])
@settings(max_examples=60)
@given(configs(), st.integers(0, 2**16), st.data())
def test_any_sequence_of_calls_gives_the_logits_of_reading_each_whole_text_at_once(
    library: str, config: ModelConfig, seed: int, data: st.DataObject
) -> None:
    model = random_model(config, seed, torch.float64)
    reading: LanguageModel = model if library == "torch" else numpy_twin(model)
    generator = np.random.Generator(np.random.Philox(key=seed))
    context_length = config.context_length
    texts: list[list[int]] = [[] for _ in range(data.draw(st.integers(1, 3)))]
    session = reading.session(len(texts))
    assert isinstance(session, Session)
    for _ in range(data.draw(st.integers(1, 8))):
        room = context_length - max(map(len, texts))
        match data.draw(st.sampled_from([*(["read"] * 2 if room else []), "refill", "rewind", "select"])):
            case "read":
                ids = generator.integers(0, VOCAB_SIZE, (len(texts), data.draw(st.integers(1, room))))
                texts = [text + new for text, new in zip(texts, ids.tolist(), strict=True)]
                last = data.draw(st.none() | st.integers(1, ids.shape[1]))
                logits = np.asarray(session.read(ids, last))
                for text, of_text in zip(texts, logits, strict=True):
                    with torch.no_grad():
                        expected = model(torch.tensor([text]))[0, -(last or ids.shape[1]) :].numpy()
                    # Norms and rotations round to float32 (6e-8); a sum in another order may tip such a rounding, and
                    # three layers and a softmax multiply it. A wrong position, mask or slot of the cache changes
                    # logits by a tenth and more.
                    np.testing.assert_allclose(of_text, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
            case "refill":
                rows = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, unique=True))
                for row in rows:
                    size = data.draw(st.integers(0, context_length))
                    texts[row] = generator.integers(0, VOCAB_SIZE, size).tolist()
                session.refill(rows, [texts[row] for row in rows])
            case "rewind":
                n = [data.draw(st.integers(0, len(text))) for text in texts]
                session.rewind(np.array(n))
                texts = [text[: len(text) - n_text] for text, n_text in zip(texts, n, strict=True)]
            case "select":
                rows = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=4))
                session.select(rows)
                texts = [texts[row] for row in rows]
        assert session.lengths.tolist() == [len(text) for text in texts]
        assert session.length == max(len(text) for text in texts)


def ids_of(*rows: list[int]) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64)


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_rows_that_were_selected_twice_go_on_apart(library: str) -> None:
    model = random_model(small_config())
    reading: LanguageModel = model if library == "torch" else numpy_twin(model)
    session = reading.session(1)
    session.read(ids_of([3, 1, 4]))
    session.select([0, 0])
    first = np.asarray(session.read(ids_of([5], [9])))
    session.rewind(1)
    swapped = np.asarray(session.read(ids_of([9], [5])))
    np.testing.assert_allclose(first, swapped[::-1], rtol=0, atol=1e-5)  # a product rounds by the place of a row
    assert not np.allclose(first[0], first[1], rtol=0, atol=0.1)


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_rows_go_on_in_the_order_they_were_selected_in(library: str) -> None:
    model = random_model(small_config())
    reading: LanguageModel = model if library == "torch" else numpy_twin(model)
    texts, rows = ids_of([3, 1, 4], [1, 5, 9], [2, 6, 5]), [2, 0, 2, 1]
    session, again = reading.session(3), reading.session(4)
    session.read(texts)
    session.select(rows)
    again.read(texts[rows])
    new = ids_of([7], [7], [8], [7])
    # Products of batches of another size round otherwise, by some 1e-7.
    np.testing.assert_allclose(np.asarray(session.read(new)), np.asarray(again.read(new)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_no_more_is_forgotten_than_was_read(library: str) -> None:
    model = random_model(small_config())
    session: Session = model.session(1) if library == "torch" else numpy_twin(model).session(1)
    session.read(ids_of([3, 1, 4]))
    with pytest.raises(AssertionError, match=r"4 of \[3\] positions"):
        session.rewind(4)


def test_logits_stay_where_the_model_computes() -> None:
    model = random_model(small_config())
    logits = model.session(1).read(ids_of([1, 2]))
    assert isinstance(logits, torch.Tensor)
    assert (logits.device, logits.requires_grad) == (model.embedding.weight.device, False)
    assert isinstance(numpy_twin(model).session(1).read(ids_of([1, 2])), np.ndarray)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("changes", [{}, {"positions": "alibi", "window": 5}, {"positions": "learned"}])
def test_a_model_in_half_precision_generates(dtype: torch.dtype, changes: dict[str, Any]) -> None:
    model = random_model(small_config(**changes))
    half = random_model(small_config(**changes)).to(dtype)
    expected = model.session(1).read(ids_of([3, 1, 4, 1, 5]))
    logits = half.session(1).read(ids_of([3, 1, 4, 1, 5]))
    assert logits.dtype == dtype
    # Weights, positions and every product are rounded to 8 bits or more, in two layers.
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=0.1 * float(expected.abs().max()))
    for sampling in (GREEDY, Sampling(0.8, 20, 0.9)):
        events = generate(half, [[3], [1, 4]], sampling, max_new_tokens=20, end_id=0, seed=0)
        assert any(collect(events, 2))
