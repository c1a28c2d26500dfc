"""Measure how well the chat model answers, and the base model beside it: what fine-tuning has bought.

The loss of both is that on the same validation dialogues. Both are asked what these ask, the base model only a tenth of
it. Where a dialogue knows the right answer, it is graded.
"""

from typing import Any

import numpy as np
from tqdm import tqdm

from lm.analysis.chat import Answer, answers, as_json, as_markdown, grade, loss_of_answers
from lm.config.chat import ChatConfig
from lm.corpus.dialogue import Dialogue, read_dialogues
from lm.formats.model_file import check_same_tokenizer
from lm.generation.sampling import Sampling
from lm.model.load import load_reader
from lm.system.devices import choose_device, explaining_memory_errors
from lm.system.files import replacing, write_json
from lm.system.gpus import claim_gpu
from lm.tokenizer.chat import can_chat
from lm.tokenizer.load import load_tokenizer
from lm.training.dialogues import encode_dialogues
from stages.support import Stage, run

_BASE_SHARE = 10  # the base model does not end its turns, so it is asked a tenth of the dialogues
_SHOWN = 10  # dialogues in the page of samples


def main(stage: Stage) -> None:
    """Write the figures of both models, and what the chat model says."""
    config, seed = stage.section(ChatConfig), stage.seed()
    claim_gpu(config.device)
    dialogues = list(read_dialogues(stage.path("dialogues")))[: config.n_dialogues]
    with explaining_memory_errors(
        f"chat.batch_size: {config.batch_size} answers at once, or the model alone, do not fit into memory; lower it "
        "or change chat.device"
    ):
        figures, given = _measure(stage, config, seed, "chat", dialogues, len(dialogues))
        base, _ = _measure(stage, config, seed, "base", dialogues, -(-len(dialogues) // _BASE_SHARE))
    write_json(stage.path("metrics"), {"chat": figures, "base": base})
    write_json(stage.path("samples_json"), as_json(dialogues, given))
    shown = dialogues[:_SHOWN]
    with replacing(stage.path("samples")) as file:
        file.write(as_markdown(shown, given, "What the chat model answers").encode())


def _measure(
    stage: Stage, config: ChatConfig, seed: int, name: str, dialogues: list[Dialogue], n_asked: int
) -> tuple[dict[str, Any] | None, list[Answer]]:
    """The figures of a model, and its answers in the first `n_asked` dialogues.

    None for a base model that does not know the tokens of the roles.
    """
    tokenizer = load_tokenizer(stage.path(f"{name}_tokenizer"))
    if not can_chat(tokenizer):
        return None, []
    path = stage.path(name)
    model, card = load_reader(path, config.weights, choose_device(config.device, "chat.device"), "chat.weights")
    check_same_tokenizer(str(stage.path(f"{name}_tokenizer")), tokenizer.sha256, str(path), card.tokenizer_sha256)
    encoding = encode_dialogues(tokenizer, dialogues, model.config.context_length)
    n_bytes = np.array([encoded.n_bytes(tokenizer) for encoded in encoding.dialogues], dtype=np.int64)
    if not encoding.dialogues:
        raise ValueError(f"{stage.path('dialogues')}: must hold a dialogue that fits into the context, got none")
    with tqdm(desc=f"loss of {name}", total=len(n_bytes), unit=" dialogues", disable=None) as bar:
        figures: dict[str, Any] = loss_of_answers(model, encoding.dialogues, n_bytes, config.batch_size, bar.update)
    asked = dialogues[:n_asked]
    n_answers = sum(message.role == "assistant" for dialogue in asked for message in dialogue.messages)
    with tqdm(desc=f"answers of {name}", total=n_answers, unit=" answers", disable=None) as bar:
        given = answers(
            model,
            tokenizer,
            asked,
            Sampling(config.temperature, top_p=config.top_p),
            max_new_tokens=config.max_new_tokens,
            batch_size=config.batch_size,
            seed=seed,
            progress=bar.update,
        )
    return figures | grade(asked, given), given


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "chat": "the chat model",
            "chat_tokenizer": "its tokenizer.json",
            "base": "the base model",
            "base_tokenizer": "its tokenizer.json",
            "dialogues": "JSON lines: the dialogues whose questions are asked",
        },
        outs={
            "metrics": "JSON: the figures of both models",
            "samples": "Markdown: dialogues, with the model's answers",
            "samples_json": "JSON: all dialogues, with the model's answers",
        },
    )
