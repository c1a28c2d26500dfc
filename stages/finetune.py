"""Fine-tune the base model on dialogues: it becomes a chat model.

The loss counts what the assistant says, and the end of its turns. A run that was stopped or killed continues from its
last saved state when it is started again, as that of stage `train` does.
"""

import sys
from dataclasses import replace

from tqdm import tqdm

from lm.config.finetune import FinetuneConfig
from lm.config.special_tokens import CHAT_TOKENS
from lm.config.train import TrainConfig
from lm.corpus.dialogue import read_dialogues
from lm.formats.model_file import Weights, check_same_tokenizer, load_weights, save_model
from lm.system.files import write_json
from lm.tokenizer.chat import can_chat
from lm.tokenizer.load import load_tokenizer
from lm.tokenizer.tokenizer import Tokenizer
from lm.training.build import build_backend
from lm.training.curves import StepRow, ValidRow, write_rows
from lm.training.dialogues import DialogueRows, Encoding, encode_dialogues
from lm.training.new_tokens import with_new_tokens
from lm.training.run import Run, explaining_errors, prepare
from lm.training.trainer import Trainer
from stages.run_folders import run_folders
from stages.support import Stage, run


def main(stage: Stage) -> None:
    """Train, in as many processes as the parameters say, then write model, metrics and curves."""
    finetune, base, seed = stage.section(FinetuneConfig), stage.section(TrainConfig), stage.seed()
    folders = run_folders(stage)
    with stage.watched_by_others():
        is_member = prepare(finetune.training(base, n_rows=1))  # otherwise it starts the members and waits for them
    if not is_member:
        return
    weights: Weights
    weights, card = load_weights(stage.path("base"))
    tokenizer = load_tokenizer(stage.path("base_tokenizer"))
    check_same_tokenizer(
        str(stage.path("base_tokenizer")), tokenizer.sha256, str(stage.path("base")), card.tokenizer_sha256
    )
    n_known = tokenizer.vocab_size
    if not can_chat(tokenizer):
        tokenizer, weights, card = with_new_tokens(tokenizer, weights, card, CHAT_TOKENS)
        print(f"the base model gets {tokenizer.vocab_size - n_known} new tokens, those of the roles", file=sys.stderr)
    splits = {split: _encoded(stage, split, tokenizer, finetune, card.config.context_length) for split in _SPLITS}
    train, valid = (
        DialogueRows(encoding.dialogues, card.config.context_length, tokenizer.end_id, packed=finetune.pack)
        for encoding in splits.values()
    )
    config = finetune.training(base, len(train))
    with explaining_errors(config):
        end_id = tokenizer.end_id if finetune.attend == "dialogue" else None
        backend = build_backend(config, card.config, card.vocab_size, seed, initial=weights, end_id=end_id)
        trainer = Trainer(backend, train, valid, config, seed)
        with Run(trainer, stage.facts(), folders) as training:
            training.take_steps()
            if training.leads:
                stage.check_unchanged()
                chat_card = replace(card, computed=trainer.computed, chat=True)
                save_model(stage.path("model"), trainer.kept_weights, chat_card)
                tokenizer.save(stage.path("tokenizer"))
                counts = {split: _counts(encoding) for split, encoding in splits.items()}
                rows = {"rows": len(train), "filled": train.filled, "predictions_an_epoch": train.n_weighted}
                new = {"new_tokens": tokenizer.vocab_size - n_known}
                write_json(stage.path("metrics"), trainer.summary() | rows | new | counts)
                write_rows(stage.path("step_curve"), StepRow, trainer.step_rows)
                write_rows(stage.path("valid_curve"), ValidRow, trainer.valid_rows)
                outs = [stage.path(name) for name in ("model", "tokenizer", "metrics", "step_curve", "valid_curve")]
                training.finish(outs, stage.path("step_curve"))


_SPLITS = ("train", "valid")


def _encoded(stage: Stage, split: str, tokenizer: Tokenizer, config: FinetuneConfig, context_length: int) -> Encoding:
    """The dialogues of a split as ids."""
    dialogues = read_dialogues(stage.path(split))
    bar = tqdm(dialogues, desc=f"encode {split}", unit=" dialogues", disable=None)
    return encode_dialogues(
        tokenizer, iter(bar), context_length, answers_only=config.learn == "answers", answer_weight=config.answer_weight
    )


def _counts(encoding: Encoding) -> dict[str, int]:
    return {
        "dialogues": len(encoding.dialogues),
        "cut_dialogues": encoding.n_cut,
        "left_out_dialogues": encoding.n_left_out,
    }


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "base": "the trained model to start from",
            "base_tokenizer": "the tokenizer.json it was trained with",
            "train": "JSON lines: the dialogues to learn from",
            "valid": "JSON lines: other dialogues, to validate on",
        },
        outs={
            "model": "the chat model, a safetensors file that carries its configuration",
            "tokenizer": "its tokenizer.json: that of the base model, with the tokens of the roles",
            "metrics": "JSON: dialogues, rows, steps, losses",
            "step_curve": "CSV: loss, accuracy, learning rate and gradient norm of every step",
            "valid_curve": "CSV: validation loss and accuracy by step",
        },
    )
