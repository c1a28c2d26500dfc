"""Draw the curves of training and fine-tuning as PNG pictures. `dvc plots diff` overlays those of several runs."""

from lm.analysis.pictures import (
    nats_per_token,
    plot_gradient_norm,
    plot_learning_rate,
    plot_loss,
    plot_loss_by_position,
)
from lm.config.observe import ObserveConfig
from lm.formats.columns import read_columns
from lm.system.files import read_json
from lm.training.curves import StepRow, read_rows, thinned, write_rows
from stages.support import Stage, run


def main(stage: Stage) -> None:
    """Write the training curves, in which each row is the mean of some steps, and draw every picture."""
    log_every = stage.section(ObserveConfig, "log_every").log_every
    for of in ("", "finetune_"):
        steps = read_rows(stage.path(f"{of}step_curve"), StepRow)
        write_rows(stage.path(f"{of}train_curve"), StepRow, thinned(steps, log_every))
    train, valid = read_columns(stage.path("train_curve")), read_columns(stage.path("valid_curve"))
    floor = nats_per_token(read_json(stage.path("floor")), read_json(stage.path("card"))["n_tokens"])
    plot_loss(train, valid, floor, stage.path("loss"))
    tuned = read_columns(stage.path("finetune_train_curve")), read_columns(stage.path("finetune_valid_curve"))
    plot_loss(*tuned, None, stage.path("finetune_loss"), title="Loss of fine-tuning")
    plot_learning_rate(train, stage.path("learning_rate"))
    plot_gradient_norm(train, stage.path("gradient_norm"))
    plot_loss_by_position(read_columns(stage.path("position_curve")), stage.path("loss_by_position"))


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "step_curve": "CSV of every step",
            "valid_curve": "CSV of the validation curve",
            "position_curve": "CSV of the loss by position",
            "finetune_step_curve": "CSV of every step of fine-tuning",
            "finetune_valid_curve": "CSV of the validation curve of fine-tuning",
            "floor": "JSON list: bits of surprise of each validation document, or null if they are not known",
            "card": "card of the token file of the same documents",
        },
        outs={
            "train_curve": "CSV: the training curve, a row for each observe.log_every steps",
            "finetune_train_curve": "CSV: the same of fine-tuning",
            "finetune_loss": "PNG: training and validation loss of fine-tuning",
            "loss": "PNG: training and validation loss, and the floor where it is known",
            "learning_rate": "PNG: learning rate",
            "gradient_norm": "PNG: gradient norm",
            "loss_by_position": "PNG: loss by position in the context",
        },
    )
