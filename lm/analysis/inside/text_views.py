"""The views of a model that reads one text."""

import torch

from lm.analysis.inside.attribution import Part, contributions
from lm.analysis.inside.lens import logit_lens
from lm.analysis.inside.patching import patching
from lm.analysis.inside.prediction import likeliest
from lm.analysis.inside.reading import Reading
from lm.analysis.inside.recording import Run, Site, run
from lm.analysis.views import Attention, Bars, Grid, Token, Tokens, View, attention, numbers
from lm.model.transformer import Transformer
from lm.tokenizer.inspection import show_token
from lm.tokenizer.tokenizer import Tokenizer
from lm.training.loss import cross_entropy

ALTERNATIVES = 5
_SHOWN = 96  # tokens in the views that hold numbers for each head or layer; more would make a page too large


@torch.no_grad()
def text_views(model: Transformer, tokenizer: Tokenizer, reading: Reading) -> list[View]:
    """The loss of each token, where each head looks, what each layer would say, and who said the next token."""
    done = run(model, reading.ids[None])
    return [
        _losses(model, tokenizer, reading, done),
        _attention(model, reading),
        _lens(model, tokenizer, reading, done),
        _attribution(model, tokenizer, done),
    ]


def _losses(model: Transformer, tokenizer: Tokenizer, reading: Reading, done: Run) -> Tokens:
    logits = model.logits(done.hidden[0])
    losses = [None, *numbers(cross_entropy(logits[:-1], reading.ids[1:]).numpy())]
    top = likeliest(logits, ALTERNATIVES)
    guesses = [()] + [
        tuple((show_token(tokenizer, id), probability) for id, probability in zip(ids, shares, strict=True))
        for ids, shares in zip(top.ids.tolist(), numbers(top.probabilities), strict=True)
    ]
    tokens = [Token(*token) for token in zip(reading.tokens, losses, guesses[:-1], strict=True)]
    tokens.append(Token("…", None, guesses[-1]))  # what comes next
    cut = f" The first {reading.n_cut} tokens did not fit into the context." if reading.n_cut else ""
    return Tokens(
        "Loss of each token",
        "The darker a token, the less the model had expected it. Beside it stand the likeliest tokens at its place; at "
        f"the end stand those that would come next.{cut}",
        "loss in nats",
        "probability",
        tokens,
    )


def _attention(model: Transformer, reading: Reading) -> Attention:
    weights = torch.cat(model.attention_weights(reading.ids[None])).float().numpy()
    shown = weights[..., :_SHOWN, :_SHOWN]
    return Attention(
        "Where each head looks",
        "The weights with which each token reads the tokens up to itself; for each token they add up to 1."
        + _cut(reading),
        reading.tokens[:_SHOWN],
        attention(shown),
    )


def _lens(model: Transformer, tokenizer: Tokenizer, reading: Reading, done: Run) -> Grid:
    layers = range(model.config.n_layers + 1)
    tops = [likeliest(logit_lens(model, done.values[Site("residual", layer)][0, :_SHOWN]), 1) for layer in layers]
    return Grid(
        "What each layer would say",
        "The likeliest next token and its probability, if the model ended after that layer: its last norm and its head "
        "read the stream there (logit lens)." + _cut(reading),
        "layer",
        "after the token",
        "probability",
        _after_layers(model),
        reading.tokens[:_SHOWN],
        [numbers(top.probabilities[:, 0]) for top in tops],
        [[show_token(tokenizer, id) for id in top.ids[:, 0].tolist()] for top in tops],
    )


def _attribution(model: Transformer, tokenizer: Tokenizer, done: Run) -> Bars:
    said = int(model.logits(done.hidden[0, -1]).argmax())
    direction = model.head_weight[said] - model.head_weight.mean(0)
    given = {
        name_of(part): float(vector[0, -1] @ direction) for part, vector in contributions(model, done.values).items()
    }
    return Bars(
        "Who said the next token",
        f"What each part adds to the logit of the likeliest next token, {show_token(tokenizer, said)!r}, above the "
        "mean of all tokens. The parts add up to it exactly. What a part does by way of later parts is not in its bar.",
        "logit",
        [*given],
        numbers(torch.tensor([*given.values()]).numpy()),
    )


def patch_views(model: Transformer, tokenizer: Tokenizer, reading: Reading, other: Reading) -> list[View]:
    """What carries the difference between the predictions after two texts; nothing if they predict the same.

    Raises:
        ValueError: when the two texts do not have as many tokens.
    """
    found = patching(model, reading.ids, other.ids)
    if found is None:
        return []
    answer, other_answer = show_token(tokenizer, found.answer), show_token(tokenizer, found.other_answer)
    shows = (
        f"The model reads the other text, with one value taken from the text. 1: it then prefers {answer!r} to "
        f"{other_answer!r} as after the text (by {found.difference:.2f} in logits); 0: as after the other one "
        f"({found.other_difference:.2f})."
    )
    return [
        Grid(
            "Which place of the stream carries the answer",
            shows,
            "layer",
            "token",
            "share of the difference",
            ["embedding", *_after_layers(model)[1:]],
            [a if a == b else f"{a} / {b}" for a, b in zip(reading.tokens, other.tokens, strict=True)],
            numbers(found.residual),
        ),
        Grid(
            "Which head carries the answer",
            f"{shows} The value is all that the head reads, at every token.",
            "layer",
            "head",
            "share of the difference",
            [str(layer) for layer in range(model.config.n_layers)],
            [str(head) for head in range(model.config.n_heads)],
            numbers(found.heads),
        ),
    ]


def name_of(part: Part) -> str:
    """How a part is called in a picture: `head 2.1` is head 1 of layer 2, both counted from 0.

    >>> name_of(Part("head", 2, 1)), name_of(Part("feed-forward", 0)), name_of(Part("embedding"))
    ('head 2.1', 'feed-forward 0', 'embedding')
    """
    return ".".join(str(number) for number in (part.kind, part.layer) if number is not None).replace(".", " ") + (
        "" if part.head is None else f".{part.head}"
    )


def _after_layers(model: Transformer) -> list[str]:
    return ["embedding", *(str(layer) for layer in range(model.config.n_layers))]


def _cut(reading: Reading) -> str:
    return f" Only the first {_SHOWN} tokens are shown." if len(reading.ids) > _SHOWN else ""
