"""Text generation: several prompts at once, with a key/value cache."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from lm.generation.strategies import distribution, draw
from lm.model.cache import KeyValueCache
from lm.model.transformer import Transformer


@torch.no_grad()
def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    end_id: int,
    seed: int,
    progress: Callable[[int], object] = lambda n_tokens: None,
) -> list[list[int]]:
    """The ids that follow each prompt, up to `end_id` (not included) or `max_new_tokens`.

    All prompts begin at position 0 and advance together: while a longer prompt lasts, its own tokens are taken instead
    of drawn ones, so nothing is padded. Each row has a random stream of its own, a function of the seed and its place.
    When the context is full, the older half of it is dropped and the rest read again; a longer prompt is cut where that
    would have cut it, so that no row depends on those beside it. `progress` is called with 1 after each position.
    """
    assert prompts
    assert all(prompts), "a prompt holds at least one token"
    device, context_length = next(model.parameters()).device, model.config.context_length
    streams = [np.random.Generator(np.random.Philox(key=[seed, row])) for row in range(len(prompts))]
    texts = [list(prompt) for prompt in prompts]
    goals = [len(prompt) + max_new_tokens for prompt in prompts]
    finished = np.zeros(len(prompts), dtype=bool)
    # All rows hold `length` tokens of which the cache has read all but the last `unread`.
    length = min(len(prompt) for prompt in prompts)
    dropped = context_length + 1 - (context_length + 1) // 2  # tokens, each time that one more would not fit
    rows = np.array([text[:length] for text in texts], dtype=np.int64)
    cache: KeyValueCache | None = None
    model.eval()
    while not finished.all():
        if cache is None or cache.length == context_length:
            cache = KeyValueCache(model.config, len(prompts), device, torch.float32)
            unread = rows[:, dropped * max(0, math.ceil((length - context_length) / dropped)) :]
        else:
            unread = rows[:, -1:]
        logits = model.logits(model.hidden(torch.from_numpy(unread).to(device), cache)[:, -1])
        probabilities = distribution(logits.double().cpu().numpy(), temperature, top_k, top_p)
        forced = [length < len(prompt) for prompt in prompts]
        uniform = np.array([0.0 if given else stream.random() for given, stream in zip(forced, streams, strict=True)])
        drawn = draw(probabilities, uniform)
        for row, text in enumerate(texts):
            if forced[row]:
                drawn[row] = prompts[row][length]
            elif not finished[row]:
                finished[row] = drawn[row] == end_id
                if not finished[row]:
                    text.append(int(drawn[row]))
                    finished[row] = len(text) == goals[row]
        rows = np.concatenate([rows, drawn[:, None]], axis=1)
        length += 1
        progress(1)
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
