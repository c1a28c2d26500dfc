"""Measure how well the model predicts the whole validation text: loss, perplexity, bits per byte, accuracy.

If the entropy of the corpus is known, the stage also measures how far the model is from the best possible model.
"""

import sys

import numpy as np
from tqdm import tqdm

from lm.analysis.evaluation import Predictor, evaluate, summarise
from lm.analysis.minimal_pairs import accuracy_by_group, summarise_pairs
from lm.config.evaluate import EvaluateConfig
from lm.config.train import TrainConfig
from lm.corpus.minimal_pairs import read_pairs
from lm.corpus.text_file import read_documents
from lm.formats.columns import Columns, write_columns
from lm.formats.model_file import check_same_tokenizer
from lm.formats.tokens import TokenFile
from lm.model.load import load_model
from lm.model.reader import Reader
from lm.system.devices import choose_device, explaining_memory_errors
from lm.system.files import read_json, write_json
from lm.system.gpus import claim_gpu
from lm.tokenizer.load import load_tokenizer
from stages.support import Stage, repository_root, run


def main(stage: Stage) -> None:
    """Write the figures, and the loss by position in the context."""
    config, train = stage.section(EvaluateConfig), stage.section(TrainConfig, "keep", "patience")
    claim_gpu(config.device)
    tokens = TokenFile(stage.path("tokens"), stage.path("card"))
    documents = tokens.documents()
    device = choose_device(config.device, "evaluate.device")
    batch_size = config.batch_size_on(device.type)
    with explaining_memory_errors(
        f"evaluate.batch_size: {batch_size} contexts at once, or the model alone, do not fit into memory; "
        "lower it or change evaluate.device"
    ):
        trained, card = load_model(stage.path("model"))
        check_same_tokenizer(
            str(tokens.path), tokens.card.tokenizer_sha256, str(stage.path("model")), card.tokenizer_sha256
        )
        trained.to(device)
        model = trained if config.weights == "fp32" else Reader(trained, config.weights, "evaluate.weights")
        with tqdm(desc="evaluate", total=len(tokens.ids), unit=" tokens", unit_scale=True, disable=None) as bar:
            evaluation = evaluate(model, documents, card.end_id, batch_size, bar.update)
        pairs = _minimal_pairs(stage, config, model, batch_size)

    n_bytes = np.array([len(document.encode()) for document in read_documents(stage.path("text"))])
    if len(n_bytes) != len(documents):
        raise ValueError(
            f"{stage.path('text')}: must hold the {len(documents)} documents of {tokens.path}, got {len(n_bytes)}"
        )
    floor = read_json(stage.path("floor"))
    figures = summarise(evaluation, n_bytes, None if floor is None else np.array(floor))
    if figures["perplexity"] is None:
        print(
            f"the model has diverged: its loss is {figures['loss']:,.0f} nats a token, and no number can hold its "
            "perplexity, which is written as null",
            file=sys.stderr,
        )
    # The weights were chosen among those of all validations by their loss on parts of this text.
    chosen = {"chosen_on_this_text": train.keep == "best" or train.patience is not None}
    write_json(stage.path("metrics"), figures | chosen | (summarise_pairs(pairs) if len(pairs["group"]) else {}))
    reached = np.flatnonzero(evaluation.position_count)
    curve = {
        "position": reached,
        "loss": evaluation.position_loss[reached],
        "n_tokens": evaluation.position_count[reached],
    }
    write_columns(stage.path("position_curve"), curve)
    write_columns(stage.path("minimal_pairs"), pairs)


def _minimal_pairs(stage: Stage, config: EvaluateConfig, model: Predictor, batch_size: int) -> Columns:
    """The accuracy on each group of minimal pairs; without rows if there are none to evaluate on."""
    if config.minimal_pairs is None:
        return {name: np.array([]) for name in ("group", "accuracy", "standard_error", "n_pairs")}
    pairs = read_pairs(config.minimal_pairs, repository_root(), read_json(stage.path("pairs_inputs")))
    return accuracy_by_group(model, load_tokenizer(stage.path("tokenizer")), pairs, batch_size)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "model": "the trained model",
            "text": "text file of the documents to evaluate on",
            "tokens": "token file of the same documents",
            "card": "its card",
            "floor": "JSON list: bits of surprise of each validation document, or null if they are not known",
            "tokenizer": "the tokenizer.json the model was trained with",
            "pairs_inputs": "JSON list: the file of minimal pairs with its SHA-256, or the dataset with its commit",
        },
        outs={
            "metrics": "JSON: the figures",
            "position_curve": "CSV: loss by position in the context",
            "minimal_pairs": "CSV: the share of minimal pairs that the model gets right, by group",
        },
    )
