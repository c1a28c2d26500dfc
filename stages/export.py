"""Write the trained model for other programs: a folder for Hugging Face transformers, a file for llama.cpp.

Each export is opened again and compared with our model. A model with switches that the other program does not have is
no error: its folder then holds a README.md that says why.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    config, sample = stage.section(ExportConfig), stage.section(SampleConfig, "temperature", "top_k", "top_p")
    generation = generation_defaults(sample.temperature, sample.top_k, sample.top_p)
    tokenizer = load_tokenizer(stage.path("tokenizer"))
    weights, card = load_weights(stage.path("model"))
    check_same_tokenizer(
        str(stage.path("tokenizer")), tokenizer.sha256, str(stage.path("model")), card.tokenizer_sha256
    )
    model, name = Model(card.config, weights), stage.path("model").parent.name
    readme = model_card(name, model, read_json(stage.path("card")), read_json(stage.path("metrics")))

    reports: dict[str, Any] = {"transformers": None, "gguf": None}
    # The other libraries take seconds to import, so they are imported where they are needed.
    with _or_why_not("transformers", stage.path("transformers"), config.transformers):
        if config.transformers:
            from lm.exchange.export import export_transformers

            reports["transformers"] = export_transformers(
                stage.path("transformers"), model, tokenizer, config.transformers, generation, readme
            )
    with _or_why_not("gguf", stage.path("gguf"), config.gguf):
        if config.gguf:
            from lm.exchange.export import export_gguf

            reports["gguf"] = export_gguf(stage.path("gguf"), model, tokenizer, config.gguf, name)
    write_json(stage.path("differences"), reports)


@contextmanager
def _or_why_not(name: str, folder: Path, dtype: str | None) -> Iterator[None]:
    """A block that exports. If it need not, or cannot because of a switch, the folder says why in its README.md."""
    why_not = None if dtype else f"export.{name} is null"
    try:
        yield
    except NoHomeError as error:
        why_not = str(error)
        print(f"no {name}: {why_not}", file=sys.stderr)
    if why_not:
        with replacing_folder(folder) as draft:
            (draft / "README.md").write_text(f"Nothing was exported: {why_not}.\n", encoding="utf-8")


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "model": "the trained model",
            "tokenizer": "the tokenizer.json it was trained with",
            "card": "JSON: what the training text is",
            "metrics": "JSON: the figures of the evaluation",
        },
        outs={
            "transformers": "a folder that Hugging Face transformers opens",
            "gguf": "a folder with a file that llama.cpp opens",
            "differences": "JSON: what was written, and the largest difference of its logits from ours",
        },
    )
