"""A run of training that can be stopped, killed and resumed: what every stage that trains has in common.

if not prepare(config):
    return  # other processes have done the work
with explained(config):
    trainer = Trainer(build_backend(...), ...)
    with Run(trainer, facts, folders) as run:
        run.take_steps()
        if run.leads:
            ...  # write the outs
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from lm.config.train import COMPUTE_PARAMETERS, TrainConfig
from lm.distributed.launch import LOST_MEMBER, launch, team_size
from lm.formats.parameters import size_of
from lm.system.files import md5
from lm.system.gpus import claim_gpu
from lm.system.memory import keep_freed_memory
from lm.system.stopping import StopRequest
from lm.training.build import n_processes
from lm.training.events import EventLog
from lm.training.resume import ResumeFolder, open_resume_folder, resume_key
from lm.training.timing import Timing
from lm.training.trainer import Trainer

# At most this much work is lost to a kill; a save takes about a second. It changes nothing in the result.
SAVE_EVERY_S = float(os.environ.get("STORYLINE_SAVE_EVERY_S", "60"))
_TIMING = "timing.json"
_GO_ON, _SAVE, _STOP = range(3)  # what the leader wishes after a step


@dataclass(frozen=True)
class RunFolders:
    """Where a run keeps what is no result: its state until it is finished, how long it took, what TensorBoard shows."""

    states: Path
    timings: Path
    events: Path | None  # None: TensorBoard is not asked for


def prepare(config: TrainConfig) -> bool:
    """Make this process ready to train; False where it has started others instead, and they have done the work.

    Raises:
        ValueError: when the machine has fewer devices than processes are asked for.
        SystemExit, ChildProcessError: as `lm.distributed.launch.launch` does.
    """
    if team_size() == 1 and (n := n_processes(config)) > 1:
        launch([sys.executable, *sys.orig_argv[1:]], n)
        return False
    keep_freed_memory()
    if config.processes == 1 and (gpu := claim_gpu(config.device if config.backend == "torch" else "cpu")):
        _say(f"on {gpu}, which no other run of ours uses")
    return True


@contextmanager
def explained(config: TrainConfig) -> Iterator[None]:
    """A block in which a lack of memory, or of the other processes, ends with one line that says what to do."""
    section = config.name()
    try:
        yield
    except MemoryError:
        raise ValueError(
            f"{section}.batch_size: {config.part_size // team_size()} sequences at once, or the model alone, do not "
            f"fit into memory; lower either, raise {section}.accumulate from {config.accumulate}, or set "
            f"{section}.recompute"
        ) from None
    except RuntimeError as error:
        if team_size() == 1:
            raise
        from lm.distributed.torch_team import is_lost_member

        if not is_lost_member(error):
            raise
        if os.environ["RANK"] != "0":  # the leader is heard at once, and one reason is enough
            print(f"error: lost the other processes: {str(error).splitlines()[0]}", file=sys.stderr)
        sys.exit(LOST_MEMBER)


class Run:
    """A run that goes on from its last saved state, and saves it now and then.

    The state lies in a folder named by everything the result depends on (`facts`: what a stage read), locked while the
    block runs, and removed when the block ends well.
    """

    def __init__(self, trainer: Trainer, facts: Mapping[str, Any], folders: RunFolders) -> None:
        self.trainer, self._folders = trainer, folders
        self.team = trainer.backend.team
        self.key = _key(trainer, facts)
        self._timing = Timing()

    @property
    def leads(self) -> bool:
        """Whether this is the process that speaks and writes for all."""
        return self.team.leads

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            if self.leads:
                self._folder = opened.enter_context(open_resume_folder(self._folders.states, self.key))
            self.team.broadcast(0)  # the others wait until the leader has locked the folder
            if not self.leads:
                self._folder = ResumeFolder(self._folders.states / self.key)
            self._resume()
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._open:
            if kind is None and self.leads:
                self._folder.remove()
        if kind is None:
            self.team.leave()

    def take_steps(self) -> None:
        """Train to the end, with a progress bar. Ctrl-C and SIGTERM save the state and stop.

        Raises:
            KeyboardInterrupt: when asked to stop.
            DivergedError: as `Trainer.run` does.
        """
        trainer, started = self.trainer, time.monotonic()
        first_tokens, n_validated, saved = trainer.tokens(), len(trainer.valid_rows), started
        hidden = None if self.leads else True  # None: where the output is no terminal
        bar = tqdm(desc="train", total=trainer.n_steps, initial=trainer.step, unit=" steps", disable=hidden)
        try:
            with StopRequest() as stop, bar, self._events() as events:
                for loss in trainer.run():
                    now = time.monotonic()
                    speed = (trainer.tokens() - first_tokens) / (now - started)
                    bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s", refresh=False)
                    bar.update()
                    self._timing.lap(trainer.step)
                    if self.leads and len(trainer.valid_rows) > n_validated:
                        n_validated = len(trainer.valid_rows)
                        row = trainer.valid_rows[-1]
                        _say(f"step {row.step:,}: validation loss {row.loss:.4f}, {speed:,.0f} tokens/s")
                    if events:
                        events.write(trainer)
                    wish = _STOP if stop.made else _SAVE if now - saved >= SAVE_EVERY_S else _GO_ON
                    wish = self.team.broadcast(wish)
                    if wish == _STOP:
                        self._stop()
                        raise KeyboardInterrupt
                    if wish == _SAVE:
                        self._save()
                        saved = now
        except ValueError:  # diverged, which leaves the trainer between two steps; an interrupt may come within one
            self._stop()
            raise
        if trainer.diverged and self.leads:
            _say(f"diverged after step {trainer.step:,}; the weights kept are those of step {trainer.kept_step:,}")

    def note_time(self, curve: Path) -> None:
        """Write how long the run took, under the MD5 of the curve of its steps, by which DVC knows that file."""
        self._timing.write(self._folders.timings / f"{md5(curve)}.json")

    def _resume(self) -> None:
        trainer, report = self.trainer, self.trainer.backend.compute_report
        if self.leads:
            size = size_of(trainer.backend.table)
            _say(f"{size:,} parameters, {trainer.n_steps:,} steps; {', '.join(report.words)}")
        if state := self._folder.load():
            trainer.load_state(state)
            self._timing.resume(self._folder.path / _TIMING, trainer.step)
        mixed = trainer.note_computed(report.facts)
        if state and self.leads:
            _say(f"resumed after step {trainer.step:,}")
            if mixed:
                _say("some steps were computed otherwise: equal to an unbroken run within rounding, not bit for bit")

    @contextmanager
    def _events(self) -> Iterator[EventLog | None]:
        if self._folders.events is None or not self.leads:
            yield None
            return
        log = EventLog(self._folders.events / self.key, self.trainer)
        try:
            yield log
        finally:
            log.close()

    def _stop(self) -> None:
        self._save()
        if self.leads:
            _say(f"stopped after step {self.trainer.step:,}; the same run goes on from there")

    def _save(self) -> None:
        state = self.trainer.state()  # put together from the parts of all processes
        if self.leads:
            self._timing.write(self._folder.path / _TIMING)
            self._folder.save(state)


def _key(trainer: Trainer, facts: Mapping[str, Any]) -> str:
    """A name for the run: what its result depends on but for rounding, so that it can go on in other processes."""
    parameters, section = facts["parameters"], trainer.config.name()
    # Which activations are dropped out depends on how they are computed too.
    free = () if trainer.backend.model_config.dropout else COMPUTE_PARAMETERS
    own = {name: value for name, value in parameters[section].items() if name not in free}
    made_by = {name: trainer.backend.compute_report.facts[name] for name in ("library", "device")}
    return resume_key({**facts, "parameters": parameters | {section: own}, "computed": made_by})


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
