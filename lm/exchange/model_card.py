"""The README.md of an exported model, which a hub shows as its page: what it is, how good it is, how to use it."""

from collections.abc import Mapping
from typing import Any

from lm.exchange.rewrites import Model
from lm.formats.parameters import n_parameters

# The licence of the text that a model was trained on, where we know it. A hub has these names.
_LICENCES = {
    "stories": "mit",
    "tinystories": "cdla-sharing-1.0",
    "tinystories-v1": "cdla-sharing-1.0",
    "tinystories-clean": "cdla-sharing-1.0",
}
_SWITCHES = ("norm", "norm_position", "positions", "feed_forward", "qk_norm", "window", "tie_embeddings", "bias")


def model_card(name: str, model: Model, data: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Markdown with the header that a hub reads.

    `data` is the card of the corpus, `metrics` are the figures of the evaluation; both may be empty.
    """
    header = ["---", "language: en", "pipeline_tag: text-generation", "library_name: transformers", "tags: [storyline]"]
    if licence := _LICENCES.get(str(data.get("dataset", data.get("source")))):
        header.append(f"license: {licence}")
    size = n_parameters(model.config, model.vocab_size)
    body = [
        "---",
        "",
        f"# {name}",
        "",
        f"A Transformer language model of {size:,} parameters, trained from scratch with storyline.",
        "",
        "## Use",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'tokenizer, model = (kind.from_pretrained("{name}") for kind in (AutoTokenizer, AutoModelForCausalLM))',
        'start = tokenizer(tokenizer.bos_token + "Once upon a time", return_tensors="pt")',
        "print(tokenizer.decode(model.generate(**start, max_new_tokens=200)[0], skip_special_tokens=True))",
        "```",
        "",
        "Begin each text with the end token, as in training, where a document starts after the end of another.",
        f"The context holds {model.config.context_length} tokens.",
        "",
        "## Model",
        "",
        *_table(_shape(model)),
    ]
    if data:
        body += ["", "## Training text", "", *_table(_flat(data))]
    if metrics:
        body += ["", "## Evaluation", "", "On the whole validation text, with standard errors over documents.", ""]
        body += _table(_with_errors(metrics))
    return "\n".join(header + body) + "\n"


def _shape(model: Model) -> dict[str, Any]:
    config = model.config
    sizes = {
        "vocabulary": model.vocab_size,
        "context_length": config.context_length,
        "d_model": config.d_model,
        "n_layers": config.n_layers,
        "n_heads": config.n_heads,
        "n_kv_heads": config.sizes.n_kv_heads,
        "d_ff": config.sizes.d_ff,
    }
    return sizes | {name: getattr(config, name) for name in _SWITCHES}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested values by their path."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return flat


def _with_errors(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Each figure, with its standard error where it has one."""
    ending = "_standard_error"
    rows = {}
    for name, value in metrics.items():
        if not name.endswith(ending):
            error = metrics.get(name + ending)
            rows[name] = _text(value) if error is None else f"{_text(value)} ± {error:.2g}"
    return rows


def _table(rows: Mapping[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {_text(value)} |" for name, value in rows.items())]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
