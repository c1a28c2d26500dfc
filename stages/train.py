"""Train the model. A run that was stopped or killed goes on from its last saved state when it is started again.

The state of an unfinished run lies in .resume/ at the root of the repository, under a name made of everything the
result depends on; it is removed when the run is finished. How long the run took goes to .timings/, under the MD5 of
its training curve, by which DVC knows that.
"""

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lm.config.model import ModelConfig
from lm.config.train import COMPUTE_PARAMETERS, TrainConfig
from lm.distributed.launch import LOST_MEMBER, launch, team_size
from lm.formats.model_file import ModelCard, check_same_tokenizer, save_model
from lm.formats.parameters import n_parameters
from lm.formats.tokens import TokenFile
from lm.system.files import replacing, write_json
from lm.system.gpus import claim_gpu
from lm.system.memory import keep_freed_memory
from lm.training.backend import Computed
from lm.training.build import build_backend, n_processes
from lm.training.events import EventLog
from lm.training.resume import ResumeFolder, open_resume_folder, resume_key
from lm.training.timing import Timing
from lm.training.trainer import Trainer, TrainRow, ValidRow
from stages.support import Stage, StopRequest, repository_root, run

# At most this much work is lost to a kill; a save takes about a second. It changes nothing in the result.
SAVE_EVERY_S = float(os.environ.get("STORYLINE_SAVE_EVERY_S", "60"))
_TIMING = "timing.json"
_GO_ON, _SAVE, _STOP = range(3)  # what the leader wishes after a step


def main(stage: Stage) -> None:
    """Train, in as many processes as the parameters say, then write model, metrics and curves."""
    model_config, config, seed = stage.section(ModelConfig), stage.section(TrainConfig), stage.seed()
    if team_size() == 1 and (n := n_processes(config)) > 1:
        launch([sys.executable, *sys.orig_argv[1:]], n)
        return
    keep_freed_memory()
    try:
        _train(stage, model_config, config, seed)
    except MemoryError:
        raise ValueError(
            f"train.batch_size: {config.part_size // team_size()} sequences at once, or the model alone, do not fit "
            f"into memory; lower either, raise train.accumulate from {config.accumulate}, or set train.recompute"
        ) from None
    except RuntimeError as error:
        from lm.distributed.torch_team import is_lost_member

        if team_size() == 1 or not is_lost_member(error):
            raise
        if os.environ["RANK"] != "0":  # the leader is heard at once, and one reason is enough
            print(f"error: lost the other processes: {str(error).splitlines()[0]}", file=sys.stderr)
        sys.exit(LOST_MEMBER)


def _train(stage: Stage, model_config: ModelConfig, config: TrainConfig, seed: int) -> None:
    train = TokenFile(stage.path("train_tokens"), stage.path("train_card"))
    valid = TokenFile(stage.path("valid_tokens"), stage.path("valid_card"))
    check_same_tokenizer(str(valid.path), valid.card.tokenizer_sha256, str(train.path), train.card.tokenizer_sha256)
    if config.processes == 1 and (gpu := claim_gpu(config.device if config.backend == "torch" else "cpu")):
        _say(f"on {gpu}, which no other run of ours uses")
    backend = build_backend(config, model_config, train.card.vocab_size, seed)
    team, computed = backend.team, backend.computed
    trainer = Trainer(backend, train, valid, config, model_config.context_length, seed)
    size = n_parameters(model_config, train.card.vocab_size)
    key = _key(stage, computed)
    with open_resume_folder(repository_root() / ".resume", key) if team.leads else nullcontext(None) as locked:
        team.agree(0)  # the others go on once the leader has the folder
        folder = locked or ResumeFolder(repository_root() / ".resume" / key)
        if team.leads:
            _say(f"{size:,} parameters, {trainer.n_steps:,} steps; {', '.join(computed.words)}")
        timing = Timing()
        if state := folder.load():
            trainer.load_state(state)
            timing.resume(folder.path / _TIMING, trainer.step)
        mixed = trainer.note_computed(computed.facts)
        if state and team.leads:
            _say(f"resumed after step {trainer.step:,}")
            if mixed:
                _say("some steps were computed otherwise: equal to an unbroken run within rounding, not bit for bit")
        wants_events = config.tensorboard and team.leads
        events = EventLog(repository_root() / ".tensorboard" / key, trainer) if wants_events else None
        _take_steps(trainer, folder, timing, events)
        if team.leads:
            stage.check_unchanged()
            if trainer.diverged:
                _say(f"diverged after step {trainer.step:,}; the weights kept are those of step {trainer.kept_step:,}")
            _write_outs(stage, trainer, ModelCard.of(model_config, train.card, trainer.computed), size)
            timing.write(repository_root() / ".timings" / f"{_md5(stage.path('train_curve'))}.json")
            folder.remove()
    team.leave()


def _key(stage: Stage, computed: Computed) -> str:
    """A name for the run: what its result depends on but for rounding, so that it can go on in other processes."""
    facts = stage.facts()
    # Which activations are dropped out depends on how they are computed too.
    free = () if facts["parameters"]["model"]["dropout"] else COMPUTE_PARAMETERS
    train = {name: value for name, value in facts["parameters"]["train"].items() if name not in free}
    made_by = {name: computed.facts[name] for name in ("library", "device")}
    return resume_key(facts | {"parameters": facts["parameters"] | {"train": train}, "computed": made_by})


def _take_steps(trainer: Trainer, folder: ResumeFolder, timing: Timing, events: EventLog | None) -> None:
    """Train to the end, saving now and then, and when asked to stop."""
    team, started, saved = trainer.backend.team, time.monotonic(), time.monotonic()
    first_step, first_tokens = trainer.step, trainer.tokens()
    n_rows, n_validated = len(trainer.train_rows), len(trainer.valid_rows)
    hidden = None if team.leads else True  # None: where the output is no terminal
    bar = tqdm(desc="train", total=trainer.n_steps, initial=first_step, unit=" steps", disable=hidden)
    try:
        with StopRequest() as stop, bar:
            for loss in trainer.run():
                now = time.monotonic()
                speed = (trainer.tokens() - first_tokens) / (now - started)
                bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s", refresh=False)
                bar.update()
                if len(trainer.train_rows) > n_rows:
                    n_rows = len(trainer.train_rows)
                    timing.lap(trainer.step)
                if team.leads and len(trainer.valid_rows) > n_validated:
                    n_validated = len(trainer.valid_rows)
                    row = trainer.valid_rows[-1]
                    _say(f"step {row.step:,}: validation loss {row.loss:.4f}, {speed:,.0f} tokens/s")
                if events:
                    events.write(trainer)
                wish = team.agree(_STOP if stop.made else _SAVE if now - saved >= SAVE_EVERY_S else _GO_ON)
                if wish == _STOP:
                    _stop(folder, trainer, timing)
                    raise KeyboardInterrupt
                if wish == _SAVE:
                    _save(folder, trainer, timing)
                    saved = now
    except ValueError:  # diverged, which leaves the trainer between two steps; an interrupt may come within one
        _stop(folder, trainer, timing)
        raise


def _stop(folder: ResumeFolder, trainer: Trainer, timing: Timing) -> None:
    _save(folder, trainer, timing)
    if trainer.backend.team.leads:
        _say(f"stopped after step {trainer.step:,}; the same run goes on from there")


def _save(folder: ResumeFolder, trainer: Trainer, timing: Timing) -> None:
    state = trainer.state()  # put together from the shares of all processes
    if trainer.backend.team.leads:
        timing.write(folder.path / _TIMING)
        folder.save(state)


def _write_outs(stage: Stage, trainer: Trainer, card: ModelCard, size: int) -> None:
    # A run that diverges before its first row or validation has none.
    kept_loss = next((row.loss for row in trainer.valid_rows if row.step == trainer.kept_step), None)
    save_model(stage.path("model"), trainer.kept_weights, card)
    write_json(
        stage.path("metrics"),
        {
            "n_parameters": size,
            "steps": trainer.step,
            "tokens": trainer.tokens(),
            "train_loss": trainer.train_rows[-1].loss if trainer.train_rows else None,
            "valid_loss": kept_loss,
            "kept_step": trainer.kept_step,
            "stopped_early": trainer.stopped_early,
            "skipped_steps": len(trainer.skipped_steps),
            "diverged": trainer.diverged,
        },
    )
    _write_rows(stage.path("train_curve"), TrainRow, trainer.train_rows)
    _write_rows(stage.path("valid_curve"), ValidRow, trainer.valid_rows)


def _write_rows(path: Path, kind: type[TrainRow | ValidRow], rows: Sequence[TrainRow | ValidRow]) -> None:
    columns = [field.name for field in fields(kind)]
    with replacing(path) as file:
        pd.DataFrame([asdict(row) for row in rows], columns=columns).to_csv(file, index=False, lineterminator="\n")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "train_tokens": "token file to train on",
            "train_card": "its card",
            "valid_tokens": "token file to validate on",
            "valid_card": "its card",
        },
        outs={
            "model": "the trained model, a safetensors file that carries its configuration",
            "metrics": "JSON: size, steps, tokens, losses",
            "train_curve": "CSV: loss, accuracy, learning rate and gradient norm by step",
            "valid_curve": "CSV: validation loss and accuracy by step",
        },
    )
