"""The views of heads: what they look for, how widely they look, and what each is worth."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Integer

from lm.analysis.inside.ablation import Cost, ablations, without_heads
from lm.analysis.inside.attribution import Part
from lm.analysis.inside.heads import entropy, first_token_share, mean_distance
from lm.analysis.inside.reading import Reading, batch_of
from lm.analysis.inside.repeats import Repeats, head_scores, mean_and_error, repeat_losses, strongest
from lm.analysis.inside.text_views import name_of
from lm.analysis.views import Bars, Grid, Table, View, numbers
from lm.model.transformer import Transformer
from lm.tokenizer.tokenizer import Tokenizer

_TEXTS, _TOKENS = 16, 128  # of the ablation: so many documents, and so many tokens of each


def repeat_views(model: Transformer, repeats: Repeats) -> list[View]:
    """What the heads do on random tokens that are said twice, and what the loss is there, with and without one head."""
    scores = head_scores(model, repeats)
    best = strongest(scores.induction)
    columns = {"previous token": scores.previous, "same token": scores.duplicate, "induction": scores.induction}
    usual, without = repeat_losses(model, repeats), repeat_losses(model, repeats, without_heads([best]))
    bars = {
        "first copy": usual.first,
        "second copy": usual.second,
        f"second copy without head {best[0]}.{best[1]}": without.second,
    }
    return [
        Grid(
            "What each head looks for",
            f"{repeats.period} random tokens, said twice: the mean weight of each head on the token before, on the "
            "earlier copy of the token, and on the token after that copy. A head that looks for nothing else has 1. An "
            "induction head finds what came next the last time.",
            "head",
            "looks at",
            "weight",
            [f"{layer}.{head}" for layer, head in np.ndindex(scores.induction.shape)],
            [*columns],
            numbers(np.stack([score.flatten() for score in columns.values()], 1)),
        ),
        Bars(
            "Does the model look up what came before?",
            "The loss on these random tokens. Nothing in the first copy can be known, all of the second can be. The "
            f"head with the highest induction score, {best[0]}.{best[1]} ({scores.induction[best]:.2f}), is then "
            "removed (its output is 0). The errors are standard errors over texts.",
            "loss in nats a token",
            [*bars],
            [mean_and_error(loss)[0] for loss in bars.values()],
            [mean_and_error(loss)[1] for loss in bars.values()],
        ),
    ]


@torch.no_grad()
def habits_view(model: Transformer, reading: Reading) -> Table:
    weights = torch.cat(model.attention_weights(reading.ids[None])).double().numpy()
    measures = [numbers(measure(weights).mean(-1)) for measure in (entropy, mean_distance, first_token_share)]
    rows = [
        (f"{layer}.{head}", *(measure[layer][head] for measure in measures))
        for layer, head in np.ndindex(weights.shape[:2])
    ]
    return Table(
        "How widely and how far each head looks",
        "Means over the tokens of the text. Entropy 0: each token looks at one token alone; log n: at n tokens alike. "
        "Heads that have nothing to do often look at the first token.",
        ["head", "entropy, nats", "distance, tokens", "share of the first token"],
        rows,
    )


def worth_view(model: Transformer, tokenizer: Tokenizer, documents: Sequence[Integer[np.ndarray, " _"]]) -> Bars:
    texts = batch_of(documents[:_TEXTS], tokenizer.end_id, min(_TOKENS, model.config.context_length))
    costs = ablations(model, texts, "mean")
    return Bars(
        "What each part is worth",
        f"What the loss on {len(texts)} texts rises by if a part always gives its mean over all their "
        "tokens. The errors are standard errors over texts.",
        "loss in nats a token",
        [_name(cost) for cost in costs],
        numbers(np.array([cost.loss for cost in costs])),
        numbers(np.array([np.nan if cost.standard_error is None else cost.standard_error for cost in costs])),
    )


def _name(cost: Cost) -> str:
    if cost.site.kind == "heads":
        return name_of(Part("head", cost.site.layer, cost.head))
    return f"{cost.site.kind.replace('_', '-')} {cost.site.layer}"
