"""What the pipeline has made, in a few lines: how good the model is, where curves and samples are, what to try next."""

import textwrap
from pathlib import Path
from typing import Any

from lm.system.files import md5, read_json
from lm.training.timing import in_words, utilisation

# Which lines are true after the pipeline has run up to a target. What later stages made may be of another model.
TARGETS = {
    "repro": ["train", "evaluate", "curves", "analysis", "samples"],
    "train": ["train", "steps"],
    "evaluate": ["train", "evaluate"],
    "sample": ["train", "samples"],
}
_WIDTH = 120
_SHOWN_CHARACTERS = 400  # of a sample


def summary(target: str, root: Path) -> str:
    """The lines about a target of the pipeline whose files lie in `root`.

    Raises:
        ValueError, OSError: when a file is missing or broken.
    """
    parts = {
        "train": _train,
        "steps": _steps,
        "evaluate": _evaluate,
        "curves": _curves,
        "analysis": _analysis,
        "samples": _samples,
    }
    lines = [line for part in TARGETS[target] for line in parts[part](root)]
    return "\n".join(["", *lines, *_next(target)])


def _train(root: Path) -> list[str]:
    metrics = read_json(root / "metrics/train.json")
    learned = f"{metrics['n_parameters']:,} parameters, {metrics['tokens']:,} tokens in {metrics['steps']:,} steps"
    timing = root / ".timings" / f"{md5(root / 'plots/steps.csv')}.json"
    if timing.exists():
        values = read_json(timing)
        learned += f", {in_words(values['elapsed_s'][-1])} on {values['machine']}"
        if share := utilisation(values):
            learned += f", {share:.0%} of its peak (MFU)"
    lines = [learned]
    if metrics["diverged"]:
        lines.append(f"training diverged; the weights kept are those of step {metrics['kept_step']:,}")
    lines.append(f"{_figure(metrics, 'valid_loss')} nats a token on a part of the validation text, while training")
    return _entry("training", lines)


def _steps(root: Path) -> list[str]:
    return _entry("curves", ["plots/steps.csv, plots/valid.csv"])


def _evaluate(root: Path) -> list[str]:
    metrics = read_json(root / "metrics/evaluate.json")
    lines = [
        f"loss {_figure(metrics, 'loss')} nats a token, {_figure(metrics, 'bits_per_byte')} bits per byte, "
        f"on the whole validation text ({metrics['n_documents']:,} documents)"
    ]
    if metrics.get("floor_bits_per_byte") is not None:
        lines.append(
            f"{_figure(metrics, 'excess_bits_per_byte')} bits per byte above {metrics['floor_bits_per_byte']:.4f}, "
            "the entropy of that text: no model can be better"
        )
    return _entry("result", lines)


def _curves(root: Path) -> list[str]:
    return _entry("curves", ["plots/*.png; one page of all of them: make plots"])


def _analysis(root: Path) -> list[str]:
    return _entry("analysis", ["analysis/index.html: what the model learned when, how it reads, what it writes"])


def _samples(root: Path) -> list[str]:
    samples = read_json(root / "samples/base.json")["samples"]
    shown = next((sample for sample in samples if sample["prompt"].strip()), samples[0])
    text = shown["prompt"] + shown["text"]
    ends = shown["complete"] and len(text) <= _SHOWN_CHARACTERS
    text = text[:_SHOWN_CHARACTERS] + ("" if ends else " …")
    return _entry("samples", ["samples/base.md, for example:", *_wrapped(text)])


def _next(target: str) -> list[str]:
    if target == "train":
        return _entry("next", ["make evaluate", "make sample"])
    chat = ["make chat                                talk to the chat model"] if target == "repro" else []
    return _entry(
        "next",
        [
            'make generate TEXT="Once upon a time"    continue a text of yours',
            *chat,
            "python -m experiments list               ablations and larger models to try",
        ],
    )


def _entry(name: str, lines: list[str]) -> list[str]:
    return [f"{name if i == 0 else '':<10}{line}".rstrip() for i, line in enumerate(lines)]


def _figure(metrics: dict[str, Any], name: str) -> str:
    """A figure with its standard error, where there are such."""
    value, error = metrics[name], metrics.get(f"{name}_standard_error")
    if value is None:
        return "(unknown)"
    return f"{value:.4f}" + ("" if error is None else f" ± {error:.4f}")


def _wrapped(text: str) -> list[str]:
    return [part for line in text.split("\n") for part in textwrap.wrap(line, _WIDTH - 14) or [""]]
