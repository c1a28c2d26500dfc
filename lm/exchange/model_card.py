"""The README.md of an exported model, which a hub shows as its page: what it is, how good it is, how to use it."""

from collections.abc import Mapping
from typing import Any

from lm.exchange.rewrites import Model
from lm.formats.parameters import n_parameters

# The licence of the text that a model was trained on, where we know it. A hub has these names.
_OURS = "stories"
_LICENCES = {
    _OURS: "mit",
    "tinystories": "cdla-sharing-1.0",
    "tinystories-v1": "cdla-sharing-1.0",
    "tinystories-clean": "cdla-sharing-1.0",
}
_USE = """\
start = tokenizer(tokenizer.bos_token + "Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**start, max_new_tokens=200)[0], skip_special_tokens=True))
```

Begin each text with the end token, as in training, where a document starts after the end of another.
"""
_USE_CHAT = """\
talk = [{"role": "user", "content": "Hello! Please tell me a story."}]
start = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True, return_tensors="pt")
answer = model.generate(**start, max_new_tokens=200)[0, start["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
```

The template writes a conversation as in training.
"""
_SWITCHES = ("norm", "norm_position", "positions", "feed_forward", "qk_norm", "window", "tie_embeddings", "bias")


def model_card(
    name: str,
    model: Model,
    data: Mapping[str, Any],
    metrics: Mapping[str, Any],
    dialogues: Mapping[str, Any] | None = None,
) -> str:
    """Markdown with the header that a hub reads.

    `data` is the card of the corpus, `dialogues` that of the dialogues, `metrics` are the figures of the evaluation;
    each may be empty.
    """
    dialogues = dialogues or {}
    header = ["---", "language: en", "pipeline_tag: text-generation", "library_name: transformers", "tags: [storyline]"]
    licence = _LICENCES.get(str(data.get("dataset", data.get("source"))))
    if licence and dialogues.get("source", _OURS) == _OURS:
        header.append(f"license: {licence}")
    size = n_parameters(model.config, model.vocab_size)
    kind = "Transformer chat model" if model.chat else "Transformer language model"
    body = [
        "---",
        "",
        f"# {name}",
        "",
        f"A {kind} of {size:,} parameters, trained from scratch with storyline.",
        "",
        "## Use",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        f'tokenizer, model = (kind.from_pretrained("{name}") for kind in (AutoTokenizer, AutoModelForCausalLM))',
        *(_USE_CHAT if model.chat else _USE).splitlines(),
        f"The context holds {model.config.context_length} tokens.",
        "",
        "## Model",
        "",
        *_table(_shape(model)),
    ]
    if data:
        body += ["", "## Training text", "", *_table(_flat(data))]
    if dialogues:
        body += ["", "## Dialogues", "", *_table(_flat(dialogues))]
    if metrics:
        on = "what the validation dialogues ask" if model.chat else "the whole validation text"
        over = "dialogues" if model.chat else "documents"
        body += ["", "## Evaluation", "", f"On {on}, with standard errors over {over}.", ""]
        body += _table(_with_errors(_flat(metrics)))
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
