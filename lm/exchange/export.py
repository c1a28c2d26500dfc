"""A model of ours as other programs open it: written, opened again and compared."""

from pathlib import Path
from typing import Any

from lm.config.export import Dtype
from lm.exchange.check import fixed_ids, largest_difference, logits_in_transformers, logits_of, tolerance
from lm.exchange.code_folder import write_code_folder
from lm.exchange.dtypes import check_dtype, rounded, stored_as
from lm.exchange.gguf_file import find_gguf_home, read_gguf, write_gguf
from lm.exchange.homes import HOMES, find_home
from lm.exchange.rewrites import Model
from lm.exchange.transformers_folder import write_folder
from lm.system.files import replacing_folder
from lm.tokenizer.tokenizer import Tokenizer

Report = dict[str, Any]


def export_transformers(
    folder: Path, model: Model, tokenizer: Tokenizer, dtype: Dtype, generation: dict[str, Any], readme: str
) -> Report:
    """Write a folder for Hugging Face `transformers`; return what was written and how far its logits are from ours.

    The folder replaces one that is there.

    Raises:
        NoHomeError: when no architecture there computes what the model computes.
        ValueError: when the check fails.
    """
    _check_torch_dtype(dtype)
    home, rewritten = find_home(model, HOMES)
    with replacing_folder(folder) as draft:
        write_folder(draft, home, rewritten, tokenizer, dtype, generation)
        (draft / "README.md").write_text(readme, encoding="utf-8")
        ids = fixed_ids(rewritten)
        theirs = logits_in_transformers(draft, ids)
        stored = Model(rewritten.config, rounded(rewritten.weights, dict.fromkeys(rewritten.weights, dtype)))
        return _report(home.architecture, dtype, model, rewritten, stored, theirs, folder)


def export_code(
    folder: Path, model: Model, tokenizer: Tokenizer, dtype: Dtype, generation: dict[str, Any], readme: str
) -> Report:
    """Write a folder for `transformers` that holds our own code, for a model that has no home there.

    The folder replaces one that is there. Whoever opens it must say `trust_remote_code=True`.

    Raises:
        ValueError: when the check fails.
    """
    _check_torch_dtype(dtype)
    with replacing_folder(folder) as draft:
        write_code_folder(draft, model, tokenizer, dtype, generation)
        (draft / "README.md").write_text(readme, encoding="utf-8")
        theirs = logits_in_transformers(draft, fixed_ids(model), with_code=True)
        stored = Model(model.config, rounded(model.weights, dict.fromkeys(model.weights, dtype)))
        return _report("StorylineForCausalLM", dtype, model, model, stored, theirs, folder)


def export_gguf(folder: Path, model: Model, tokenizer: Tokenizer, dtype: Dtype, name: str) -> Report:
    """Write `NAME-DTYPE.gguf` into a folder; return what was written and how far its logits are from ours.

    The folder replaces one that is there. The file is read again and its weights are put into our model, so llama.cpp
    itself need not be here.

    Raises:
        NoHomeError: when no architecture of llama.cpp computes what the model computes.
        ValueError: when the check fails.
    """
    check_dtype(model, dtype)
    home, rewritten = find_gguf_home(model)
    if rewritten.config.feed_forward == "gelu":  # see GGUF_HOMES
        rewritten = rewritten._replace(config=rewritten.config.model_copy(update={"feed_forward": "gelu_tanh"}))
    with replacing_folder(folder) as draft:
        path = draft / f"{name}-{dtype}.gguf"
        write_gguf(path, home, rewritten, tokenizer, dtype, name)
        ids = fixed_ids(rewritten)
        read = Model(rewritten.config, read_gguf(path, home, rewritten.config, model.vocab_size))
        dtypes = {name: stored_as(name, dtype) for name in rewritten.weights}
        stored = Model(rewritten.config, rounded(rewritten.weights, dtypes))
        return _report(home.architecture, dtype, model, rewritten, stored, logits_of(read, ids), folder)


def _check_torch_dtype(dtype: Dtype) -> None:
    if dtype == "q8_0":
        raise ValueError("dtype: must be f32, bf16 or f16 for transformers, got q8_0")


def _report(
    architecture: str, dtype: Dtype, model: Model, rewritten: Model, stored: Model, theirs: Any, place: Path
) -> Report:
    """What was written, after a check that the export computes what the stored weights compute."""
    ids = fixed_ids(rewritten)
    ours = logits_of(stored, ids)
    difference, most = largest_difference(theirs, ours, str(place)), tolerance(ours)
    if difference > most:
        raise ValueError(
            f"{place}: its logits must be those of our model within {most:.2g}, got a difference of {difference:.3g}"
        )
    return {
        "architecture": architecture,
        "dtype": dtype,
        "context_length": rewritten.config.context_length,
        "largest_difference_of_logits": largest_difference(theirs, logits_of(model, ids), str(place)),
    }
