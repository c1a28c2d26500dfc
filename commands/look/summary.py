"""What the terminal shows of a model that reads a text."""

import torch

from commands.look.looking import Subject
from lm.analysis.inside.prediction import likeliest
from lm.analysis.inside.reading import read
from lm.analysis.inside.recording import run
from lm.analysis.inside.repeats import draw_repeats, head_scores, strongest
from lm.tokenizer.inspection import show_token
from lm.training.loss import cross_entropy

_TOKENS, _GUESSES = 40, 5


@torch.no_grad()
def summary(subject: Subject, text: str, special: bool) -> str:
    """The last tokens with their losses, the likeliest next tokens, and the strongest head of each kind."""
    model, tokenizer = subject.model, subject.tokenizer
    reading = read(tokenizer, text, model.config.context_length, allow_special=special)
    logits = model.logits(run(model, reading.ids[None]).hidden[0])
    losses = cross_entropy(logits[:-1], reading.ids[1:])
    lines = [f"{subject.name}: {model.config.n_layers} layers, {model.config.n_heads} heads, {model.n_parameters:,} "
             "parameters"]  # fmt: skip
    if len(losses):
        shown = zip(reading.tokens[1:][-_TOKENS:], losses[-_TOKENS:].tolist(), strict=True)
        lines.append("tokens   " + "  ".join(f"{token!r} {loss:.2f}" for token, loss in shown))
        lines.append(f"loss     {float(losses.mean()):.3f} nats a token over {len(losses)} tokens")
    if reading.n_cut:
        lines.append(
            f"note     the model sees {len(reading.ids)} tokens at once, so {reading.n_cut} before them are left out"
        )
    top = likeliest(logits[-1:], _GUESSES)
    pairs = zip(top.ids[0].tolist(), top.probabilities[0].tolist(), strict=True)
    lines.append(
        "next     " + "  ".join(f"{show_token(tokenizer, id)!r} {probability:.3f}" for id, probability in pairs)
    )
    try:
        scores = head_scores(model, draw_repeats(model.config, tokenizer, n_texts=8, seed=0))
    except ValueError:
        return "\n".join(lines)
    named = {"previous token": scores.previous, "same token": scores.duplicate, "induction": scores.induction}
    best = {name: (strongest(values), float(values.max())) for name, values in named.items()}
    parts = [f"{name} {layer}.{head} ({score:.2f})" for name, ((layer, head), score) in best.items()]
    return "\n".join([*lines, "heads    " + "  ".join(parts) + ", of 1"])
