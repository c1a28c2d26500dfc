"""A run of training that can be stopped, killed and resumed: what every stage that trains has in common.

if not prepare(config):
    return  # other processes have done the work
with explaining_errors(config):
    trainer = Trainer(build_backend(...), ...)
    with Run(trainer, facts, folders) as run:
        run.take_steps()
        if run.leads:
            ...  # write the outs
            run.finish(outs, curve)
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from lm.config.train import COMPUTE_PARAMETERS, TrainConfig
from lm.distributed.launch import LOST_MEMBER, launch, team_size
from lm.formats.parameters import size_of
from lm.system.files import md5, write_json
from lm.system.gpus import claim_gpu
from lm.system.memory import keep_freed_memory, memory_used
from lm.system.stopping import StopRequest
from lm.training.backend import Arrays
from lm.training.build import n_processes
from lm.training.estimate import Speedometer, expected_s, facts_of_speed, training_flops
from lm.training.events import EventLog
from lm.training.resume import ResumeFolder, open_resume_folder, resume_key
from lm.training.saved_runs import About, write_about
from lm.training.saving import Saver
from lm.training.timing import Timing, in_words
from lm.training.trainer import DivergedError, Trainer
from lm.training.utilisation import peak_flops

# A killed run loses at most this much work, and the time that a save takes. The value does not change the result.
SAVE_EVERY_S = float(os.environ.get("STORYLINE_SAVE_EVERY_S", "60"))
_TIMING = "timing.json"
_GO_ON, _SAVE, _STOP = range(3)  # what the leader decides after a step


@dataclass(frozen=True)
class RunFolders:
    """Where a run keeps what is not a result: its saved state, its duration, and TensorBoard's events."""

    states: Path
    timings: Path
    events: Path | None  # None: no TensorBoard


def prepare(config: TrainConfig) -> bool:
    """Whether this process shall train, and is ready to. False: it has started others, and they have done the work.

    Raises:
        ValueError: when the machine has fewer devices than processes are asked for.
        SystemExit, ChildProcessError: as `lm.distributed.launch.launch` does.
    """
    if team_size() == 1 and (n := n_processes(config)) > 1:
        launch([sys.executable, *sys.orig_argv[1:]], n)
        return False
    keep_freed_memory()
    if config.processes == 1 and (gpu := claim_gpu(config.device if config.backend == "torch" else "cpu")):
        _say(f"on {gpu}, which no other run of storyline uses")
    return True


@contextmanager
def explaining_errors(config: TrainConfig) -> Iterator[None]:
    """A block that ends with one line that says what to do when memory runs out or another process is lost."""
    section = config.name()
    try:
        yield
    except MemoryError:
        raise ValueError(
            f"{section}.batch_size: {config.part_size // team_size()} sequences at once, or the model alone, do not "
            f"fit into memory; lower it, raise {section}.accumulate from {config.accumulate}, set {section}.recompute, "
            "or use a smaller model"
        ) from None
    except RuntimeError as error:
        if team_size() == 1:
            raise
        from lm.distributed.torch_team import is_lost_member

        if not is_lost_member(error):
            raise
        if os.environ["RANK"] != "0":  # the leader's output is shown at once, and one reason is enough
            print(f"error: lost the other processes: {str(error).splitlines()[0]}", file=sys.stderr)
        sys.exit(LOST_MEMBER)


class Run:
    """A run that continues from its last saved state, and saves its state every `SAVE_EVERY_S` seconds and at its end.
    A thread writes the state while training goes on.

    The state lies in a folder. Its name is a hash of everything that the result depends on (`facts`: what a stage has
    read). The folder is locked while the block runs. A finished run keeps it, because the outs may be lost until they
    are recorded: `lm.training.saved_runs.forget_recorded` removes it then.
    """

    def __init__(self, trainer: Trainer, facts: Mapping[str, Any], folders: RunFolders) -> None:
        self.trainer, self._folders = trainer, folders
        self.team = trainer.backend.team
        self.key = _key(trainer, facts)
        self._parameters = dict(facts["parameters"])
        self._timing, self._saver = Timing(), Saver()
        self._peak: float | None = None  # operations a second; known once a run has lasted for some seconds

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.team.leads

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            if self.leads:
                self._folder = opened.enter_context(open_resume_folder(self._folders.states, self.key))
            self.team.broadcast(0)  # the others wait until the leader has locked the folder
            if not self.leads:
                self._folder = ResumeFolder(self._folders.states / self.key)
            self._resume()
            opened.enter_context(self._saver)  # it ends before the folder is unlocked
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._open.close()
        if kind is None:
            self.team.leave()

    def take_steps(self) -> None:
        """Train to the end, with a progress bar, and save the state. Ctrl-C and SIGTERM save it and stop.

        Raises:
            KeyboardInterrupt: when asked to stop.
            DivergedError: as `Trainer.run` does.
        """
        trainer, started = self.trainer, time.monotonic()
        tokens_before, n_validated, saved = trainer.tokens(), len(trainer.valid_rows), started
        speedometer = Speedometer(trainer.tokens(trainer.n_steps))
        no_bar = None if self.leads else True  # None: no bar where the output is not a terminal
        bar = tqdm(
            desc=trainer.config.name(), total=trainer.n_steps, initial=trainer.step, unit=" steps", disable=no_bar
        )
        try:
            with StopRequest() as stop, bar, self._events() as events:
                self._keep_snapshot()  # of step 0
                for loss in trainer.run():
                    self._keep_snapshot()
                    now = time.monotonic()
                    speed = (trainer.tokens() - tokens_before) / (now - started)
                    bar.set_postfix_str(f"loss {loss:.3f}, {speed:,.0f} tokens/s{self._share(speed)}", refresh=False)
                    bar.update()
                    self._timing.lap(trainer.step)
                    if (rest_s := speedometer.rest_s(now - started, trainer.tokens())) and self.leads:
                        self._peak = peak_flops(trainer.backend.compute_report.facts)
                        _say(f"about {in_words(rest_s)} of training left, and the validations; {memory_used()}")
                    if self.leads and len(trainer.valid_rows) > n_validated:
                        n_validated = len(trainer.valid_rows)
                        row = trainer.valid_rows[-1]
                        figures = f"{speed:,.0f} tokens/s{self._share(speed)}"
                        _say(f"step {row.step:,}: validation loss {row.loss:.4f}, {figures}")
                    if events:
                        events.write(trainer)
                    wish = _STOP if stop.made else _SAVE if now - saved >= SAVE_EVERY_S else _GO_ON
                    wish = self.team.broadcast(wish)
                    self._saver.check()
                    if wish == _STOP:
                        self._save_and_say()
                        raise KeyboardInterrupt
                    if wish == _SAVE:
                        self._save()
                        saved = now
                if trainer.diverged:  # a validation ended the run: its step has not been given out above
                    self._timing.lap(trainer.step)
                    if events:
                        events.write(trainer)
        except DivergedError:  # no step is half done here, so the state can be saved
            self._save_and_say()
            raise
        self._save()
        self._saver.wait()
        if trainer.diverged and self.leads:
            _say(f"diverged after step {trainer.step:,}; the weights kept are those of step {trainer.kept_step:,}")

    def snapshots(self) -> Iterator[tuple[int, Arrays]]:
        """The weights after each step of `snapshots` that the run has taken, for the process that leads."""
        for step in sorted(set(self.trainer.config.snapshots)):
            if step <= self.trainer.step and (weights := self._folder.kept(step)) is not None:
                yield step, weights

    def _keep_snapshot(self) -> None:
        """Keep the weights if they are asked for. Before the state that follows, so no state lacks one."""
        if self.trainer.step in self.trainer.config.snapshots:
            weights = self.trainer.backend.weights()  # all processes give their parts, so all must call this
            if self.leads:
                self._folder.keep(self.trainer.step, weights)

    def finish(self, outs: Sequence[Path], curve: Path) -> None:
        """Note that the outs are written, and how long the run took.

        The time goes into a file named by the MD5 of the step curve: DVC knows the curve by it.
        """
        facts = facts_of_speed(self._flops(self.trainer.step), self.trainer.config, self._peak)
        self._timing.write(self._folders.timings / f"{md5(curve)}.json", **facts)
        write_about(self._folder.path, self._about([md5(path) for path in outs]))

    def _share(self, tokens_per_s: float) -> str:
        """The share of the processor's arithmetic, in words."""
        if self._peak is None:
            return ""
        backend = self.trainer.backend
        return f", {training_flops(backend.model_config, backend.table, 1) * tokens_per_s / self._peak:.0%} MFU"

    def _flops(self, n_steps: int) -> float:
        """The operations of the first steps."""
        backend = self.trainer.backend
        return training_flops(backend.model_config, backend.table, self.trainer.tokens(n_steps))

    def _resume(self) -> None:
        trainer, report = self.trainer, self.trainer.backend.compute_report
        if self.leads:
            size = size_of(trainer.backend.table)
            _say(f"{size:,} parameters, {trainer.n_steps:,} steps; {', '.join(report.words)}")
            if (whole_s := expected_s(self._flops(trainer.n_steps), trainer.config, self._folders.timings)) is not None:
                _say(f"about {in_words(whole_s)} in all, if it is as fast as the earlier run here that is most like it")
        if state := self._folder.load():
            try:
                trainer.load_state(state)
            except ValueError as error:
                raise ValueError(f"{self._folder.path}: {error}; delete it, and the run starts anew") from None
            self._timing.resume(self._folder.path / _TIMING, trainer.step)
        differing = trainer.note_computed(report.facts)
        if state and self.leads:
            _say(f"resumed after step {trainer.step:,}")
            if differing:
                _say(
                    f"some steps were computed in another way ({', '.join(differing)}): equal to an unbroken run "
                    "within rounding, not bit for bit"
                )

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

    def _save_and_say(self) -> None:
        self._save()
        self._saver.wait()
        if self.leads:
            _say(f"stopped after step {self.trainer.step:,}; the same run goes on from there")

    def _save(self) -> None:
        state = self.trainer.state()  # all processes give their parts, so all must call this
        if self.leads:
            timing, about = self._timing.values(), self._about()

            def write() -> None:
                write_json(self._folder.path / _TIMING, timing)
                self._folder.save(state)
                write_about(self._folder.path, about)

            self._saver.start(write)

    def _about(self, outs: list[str] | None = None) -> About:
        trainer = self.trainer
        return About(trainer.config.name(), trainer.step, trainer.n_steps, self._parameters, outs)


def _key(trainer: Trainer, facts: Mapping[str, Any]) -> str:
    """A name for the run, from all that its result depends on except rounding. So other processes can continue it."""
    parameters = {
        name: {key: value for key, value in section.items() if key not in COMPUTE_PARAMETERS}
        if isinstance(section, dict)
        else section
        for name, section in facts["parameters"].items()
    }
    computed = trainer.backend.compute_report.facts
    # How a run is computed decides which activations are dropped. Only the number of threads has no part in that.
    with_dropout = trainer.backend.model_config.dropout > 0
    always = {"library", "numpy", "device", "precision"}
    counts = computed.keys() - {"threads"} if with_dropout else computed.keys() & always
    return resume_key(
        {
            **facts,
            "parameters": parameters,
            "computed": {name: value for name, value in computed.items() if name in counts},
        }
    )


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
