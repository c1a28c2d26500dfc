"""All views of a model."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer

from lm.analysis.inside.head_views import habits_view, repeat_views, worth_view
from lm.analysis.inside.reading import read
from lm.analysis.inside.repeats import draw_repeats
from lm.analysis.inside.text_views import text_views
from lm.analysis.inside.weight_views import matrix_views, neighbours_view, stream_view
from lm.analysis.views import View
from lm.model.transformer import Transformer
from lm.tokenizer.tokenizer import Tokenizer

_REPEATS = 32


def model_views(
    model: Transformer,
    tokenizer: Tokenizer,
    text: str,
    documents: Sequence[Integer[np.ndarray, " _"]] = (),
    seed: int = 0,
    *,
    allow_special: bool = False,
) -> list[View]:
    """All views of a model: of how it reads `text`, and of the model as a whole.

    What each part is worth is measured on `documents`, each with its end token. Without documents this view is left
    out. `seed` draws random tokens and the weights that the trained ones are compared with. A text that is longer than
    the context is read from its end.
    """
    reading = read(tokenizer, text, model.config.context_length, allow_special=allow_special)
    views = text_views(model, tokenizer, reading)
    try:
        repeats = draw_repeats(model.config, tokenizer, _REPEATS, seed)
    except ValueError:  # the context is too short to say anything twice
        pass
    else:
        views += repeat_views(model, repeats)
    views.append(habits_view(model, reading))
    if documents:
        views.append(worth_view(model, tokenizer, documents))
    return [*views, neighbours_view(model, tokenizer, reading), stream_view(model, reading), *matrix_views(model, seed)]
