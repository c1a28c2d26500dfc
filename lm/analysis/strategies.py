"""Texts that a model writes in several ways, side by side, with measures that tell the ways apart."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lm.analysis.texts import Measures
from lm.config.sample import SampleConfig
from lm.generation.events import counted
from lm.generation.session import LanguageModel
from lm.generation.texts import continue_prompts
from lm.generation.written import WrittenText, written_texts
from lm.tokenizer.tokenizer import Tokenizer

_HEADINGS = {
    "tokens_per_text": "tokens a text",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "repetition_4": "repetition-4",
    "self_bleu": "self-BLEU",
    "perplexity": "own perplexity",
    "complete": "ends itself",
}
_LONGEST_HEADING = 60  # characters of a prompt


@dataclass(frozen=True)
class TextSet:
    """What one strategy has written: the texts of all prompts, in order.

    Attributes:
        name: of the strategy; of the section itself it is empty.
        config: how the texts were written.
        changes: the parameters that the strategy names.
        texts: what was written.
        measures: what the texts are like.
    """

    name: str
    config: SampleConfig
    changes: dict[str, Any]
    texts: tuple[WrittenText, ...]
    measures: Measures


def write_texts(
    model: LanguageModel,
    tokenizer: Tokenizer,
    config: SampleConfig,
    *,
    end_id: int,
    seed: int,
    progress: Callable[[int], object],
) -> list[TextSet]:
    """The texts that the section asks for, then those of each of its strategies.

    `progress` is called with 1 for each token. A strategy draws with the same random numbers as it would alone.
    """
    sets = []
    for name, one in {"": config, **config.by_strategy()}.items():
        events = continue_prompts(model, tokenizer, one, end_id=end_id, seed=seed, logprobs=0)
        written = written_texts(tokenizer, one.prompts, counted(events, progress), samples=one.samples, stop=one.stop)
        texts = tuple(sorted(written, key=lambda text: (text.index, text.sample)))
        sets.append(TextSet(name, one, config.strategies.get(name, {}), texts, _measure(texts)))
    return sets


def as_json(sets: Sequence[TextSet], seed: int) -> dict[str, Any]:
    """Seed, settings, texts and measures of the section; under `strategies`, the same of each, with what it names."""
    plain, *others = sets
    return {
        "seed": seed,
        "settings": plain.config.settings(),
        **_results(plain),
        "strategies": {one.name: {"settings": one.changes, **_results(one)} for one in others},
    }


def as_markdown(sets: Sequence[TextSet], seed: int) -> str:
    """A table of settings and measures, then for each prompt its texts, those of each strategy under its name."""
    config = sets[0].config
    lines = ["# Samples", "", f"At most {config.max_new_tokens} tokens, seed {seed}. Prompts in bold.", ""]
    lines += [f"| | settings | {' | '.join(_HEADINGS.values())} |", "|---" * (2 + len(_HEADINGS)) + "|"]
    for one in sets:
        values = asdict(one.measures)
        cells = ["–" if values[name] is None else f"{values[name]:.3g}" for name in _HEADINGS]
        lines.append(f"| {_label(one)} | {_settings(one)} | {' | '.join(cells)} |")
    for index, prompt in enumerate(config.prompts):
        title = " ".join(prompt.split())
        lines += ["", f"## {title[:_LONGEST_HEADING] or 'Without a prompt'}"]
        for one in sets:
            if len(sets) > 1:
                lines += ["", f"### {_label(one)}"]
            for text in one.texts:
                if text.index == index:
                    shown = _bold(prompt) + text.text + ("" if text.complete else " …")
                    lines += ["", *(f"> {line}".rstrip() for line in shown.split("\n"))]
    return "\n".join(lines) + "\n"


def _measure(texts: Sequence[WrittenText]) -> Measures:
    logprobs = [text.log_probability for text in texts]
    return Measures.of(
        [text.text for text in texts],
        n_tokens=sum(len(text.tokens) for text in texts),
        log_probability=None if None in logprobs else sum(p for p in logprobs if p is not None),
        n_complete=sum(text.complete for text in texts),
    )


def _results(one: TextSet) -> dict[str, Any]:
    return {"samples": [text.as_json() for text in one.texts], "measures": asdict(one.measures)}


def _label(one: TextSet) -> str:
    config = one.config
    if one.name:
        return one.name
    if config.penalty_alpha is not None:
        return "contrastive"
    return "beams" if config.beams > 1 else "greedy" if config.temperature == 0 else "drawn"


def _settings(one: TextSet) -> str:
    """What the strategy names, or for the section itself, what differs from a plain draw."""
    plain = {name: field.default for name, field in SampleConfig.model_fields.items() if not field.is_required()}
    plain |= {"top_k": None, "top_p": None, "stop": [], "forbid": [], "require": []}
    plain |= {"max_new_tokens": one.config.max_new_tokens}  # which stands above the table
    settings = one.config.settings()
    shown = one.changes if one.name else {n: v for n, v in settings.items() if n not in plain or v != plain[n]}
    return ", ".join(
        f"{name.replace('_', '-')} {value:g}" if isinstance(value, float) else f"{name.replace('_', '-')} {value}"
        for name, value in shown.items()
    )


def _bold(prompt: str) -> str:
    return f"**{prompt}**" if prompt and prompt == prompt.strip() and "\n" not in prompt else prompt
