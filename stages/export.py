"""Write the base model and the chat model for other programs: folders for transformers, files for llama.cpp.

Each export is opened again and compared with our model. A model with switches that the other program does not have is
no error: its folder then holds a README.md that says why.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lm.config.chat import ChatConfig
from lm.config.export import ExportConfig
from lm.config.sample import SampleConfig
from lm.exchange.generation_defaults import generation_defaults
from lm.exchange.homes import NoHomeError
from lm.exchange.model_card import model_card
from lm.exchange.rewrites import Model
from lm.formats.model_file import check_same_tokenizer, load_weights
from lm.system.files import read_json, replacing_folder, write_json
from lm.tokenizer.load import load_tokenizer
from stages.support import Stage, run


def main(stage: Stage) -> None:
    """Write the folders, and how far their logits are from ours."""
    config = stage.section(ExportConfig)
    sample = stage.section(SampleConfig, "temperature", "top_k", "top_p")
    chat = stage.section(ChatConfig, "temperature", "top_p")
    text, dialogues = read_json(stage.path("text")), read_json(stage.path("dialogues"))
    reports = {
        "base": _export(
            stage,
            "base",
            config,
            generation_defaults(sample.temperature, sample.top_k, sample.top_p),
            {"data": text, "metrics": read_json(stage.path("base_metrics"))},
        ),
        "chat": _export(
            stage,
            "chat",
            config,
            generation_defaults(chat.temperature, None, chat.top_p),
            {"data": text, "metrics": read_json(stage.path("chat_metrics"))["chat"], "dialogues": dialogues},
        ),
    }
    write_json(stage.path("differences"), reports)


def _export(
    stage: Stage, name: str, config: ExportConfig, generation: dict[str, Any], facts: dict[str, Any]
) -> dict[str, Any]:
    """Write a model in both formats; `facts` are those that its card shows."""
    path, tokenizer = stage.path(name), load_tokenizer(stage.path(f"{name}_tokenizer"))
    weights, card = load_weights(path)
    check_same_tokenizer(str(stage.path(f"{name}_tokenizer")), tokenizer.sha256, str(path), card.tokenizer_sha256)
    model = Model(card.config, weights, card.chat)
    reports: dict[str, Any] = {"transformers": None, "gguf": None}
    # The other libraries take seconds to import, so they are imported where they are needed.
    folder = stage.path(f"{name}_transformers")
    with _or_why_not(name, "transformers", folder, config.transformers):
        if config.transformers:
            from lm.exchange.export import export_transformers

            readme = model_card(name, model, **facts)
            reports["transformers"] = export_transformers(
                folder, model, tokenizer, config.transformers, generation, readme
            )
    folder = stage.path(f"{name}_gguf")
    with _or_why_not(name, "gguf", folder, config.gguf):
        if config.gguf:
            from lm.exchange.export import export_gguf

            reports["gguf"] = export_gguf(folder, model, tokenizer, config.gguf, name)
    return reports


@contextmanager
def _or_why_not(name: str, kind: str, folder: Path, dtype: str | None) -> Iterator[None]:
    """A block that exports. If it need not, or cannot because of a switch, the folder says why in its README.md."""
    why_not = None if dtype else f"export.{kind} is null"
    try:
        yield
    except NoHomeError as error:
        why_not = str(error)
        print(f"no {kind} of {name}: {why_not}", file=sys.stderr)
    if why_not:
        with replacing_folder(folder) as draft:
            (draft / "README.md").write_text(f"Nothing was exported: {why_not}.\n", encoding="utf-8")


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "base": "the base model",
            "base_tokenizer": "its tokenizer.json",
            "base_metrics": "JSON: the figures of its evaluation",
            "chat": "the chat model",
            "chat_tokenizer": "its tokenizer.json",
            "chat_metrics": "JSON: the figures of its evaluation",
            "text": "JSON: what the training text is",
            "dialogues": "JSON: what the dialogues are",
        },
        outs={
            "base_transformers": "a folder that Hugging Face transformers opens",
            "base_gguf": "a folder with a file that llama.cpp opens",
            "chat_transformers": "the same for the chat model",
            "chat_gguf": "the same for the chat model",
            "differences": "JSON: what was written, and the largest difference of its logits from ours",
        },
    )
