"""Train the model. A run that was stopped or killed continues from its last saved state when it is started again.

The state of a run lies in .resume/ at the root of the repository, in a folder whose name is a hash of everything that
the result depends on. After the run has finished, the next stage that finds the outs in dvc.lock removes it, because
until then they may be lost. How long the run took is written to .timings/, in a file named by the MD5 of the step
curve: DVC knows the curve by it.
"""

from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.formats.model_file import ModelCard, check_same_tokenizer, save_model
from lm.formats.model_folder import snapshot_name
from lm.formats.tokens import TokenFile
from lm.system.files import replacing, replacing_folder, sha256, write_json
from lm.training.build import build_backend
from lm.training.curves import StepRow, ValidRow, write_rows
from lm.training.run import Run, explaining_errors, prepare
from lm.training.source import open_source
from lm.training.trainer import Trainer
from stages.run_folders import run_folders
from stages.support import Stage, run


def main(stage: Stage) -> None:
    """Train, in as many processes as the parameters say, then write model, metrics and curves."""
    model_config, config, seed = stage.section(ModelConfig), stage.section(TrainConfig), stage.seed()
    folders = run_folders(stage)
    with stage.watched_by_others():
        is_member = prepare(config)  # otherwise it starts the members and waits for them
    if not is_member:
        return
    train = TokenFile(stage.path("train_tokens"), stage.path("train_card"))
    valid = TokenFile(stage.path("valid_tokens"), stage.path("valid_card"))
    tokenizer = stage.path("tokenizer")
    for path, digest in ((valid.path, valid.card.tokenizer_sha256), (tokenizer, sha256(tokenizer))):
        check_same_tokenizer(str(path), digest, str(train.path), train.card.tokenizer_sha256)
    sources = [open_source(tokens, model_config.context_length, config) for tokens in (train, valid)]
    with explaining_errors(config):
        end_id = train.card.end_id if config.rows == "documents" else None
        backend = build_backend(config, model_config, train.card.vocab_size, seed, end_id=end_id)
        trainer = Trainer(backend, sources[0], sources[1], config, seed)
        with Run(trainer, stage.facts(), folders) as training:
            training.take_steps()
            if training.leads:
                stage.check_unchanged()
                card = ModelCard.of(model_config, train.card, trainer.computed)
                _write_outs(stage, trainer, card)
                _write_snapshots(stage, training, card)
                outs = [
                    stage.path(name) for name in ("model", "model_tokenizer", "metrics", "step_curve", "valid_curve")
                ]
                training.finish(outs, stage.path("step_curve"))


def _write_outs(stage: Stage, trainer: Trainer, card: ModelCard) -> None:
    save_model(stage.path("model"), trainer.kept_weights, card)
    with replacing(stage.path("model_tokenizer")) as file:
        file.write(stage.path("tokenizer").read_bytes())
    write_json(stage.path("metrics"), trainer.summary())
    write_rows(stage.path("step_curve"), StepRow, trainer.step_rows)
    write_rows(stage.path("valid_curve"), ValidRow, trainer.valid_rows)


def _write_snapshots(stage: Stage, training: Run, card: ModelCard) -> None:
    with replacing_folder(stage.path("snapshots")) as folder:
        for step, weights in training.snapshots():
            save_model(folder / snapshot_name(step), weights, card)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "train_tokens": "token file to train on",
            "train_card": "its card",
            "valid_tokens": "token file to validate on",
            "valid_card": "its card",
            "tokenizer": "the tokenizer.json that made the tokens",
        },
        outs={
            "model": "the trained model, a safetensors file that carries its configuration",
            "model_tokenizer": "the tokenizer.json, beside the model, so that the folder is all that a user needs",
            "snapshots": "a folder with a model file for each step of train.snapshots that the run reached",
            "metrics": "JSON: size, steps, tokens, losses",
            "step_curve": "CSV: loss, accuracy, learning rate and gradient norm of every step",
            "valid_curve": "CSV: validation loss and accuracy by step",
        },
    )
