"""The curves and samples of an experiment, from DVC's cache, and how long its training took on this machine."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from dvc.api import DVCFileSystem

from experiments.compare.left_over import left_over
from experiments.run.dvc_commands import ask_git
from experiments.run.results import Result, named_metrics
from lm.system.files import read_json
from lm.training.timing import utilisation

TRAIN, VALID = "plots/{}train.csv", "plots/{}valid.csv"
_N_DIALOGUES = 6
STEPS = "plots/{}steps.csv"  # whose MD5 names the file of how long the run took


@dataclass(frozen=True)
class Sample:
    """A text that the trained model wrote."""

    prompt: str
    text: str  # the continuation, without the prompt
    complete: bool  # whether the text ended itself


@dataclass(frozen=True)
class Curves:
    """What a run wrote. A field is None where this machine does not have the file (`dvc pull` may fetch it), and where
    the stage that writes it was no part of the run.

    The tables have the columns of the files, and `elapsed_s` where the run was timed on this machine.
    """

    train: pd.DataFrame | None
    valid: pd.DataFrame | None
    samples: tuple[Sample, ...] | None
    machine: str | None  # the machine that the run was timed on
    tokens_per_s: float | None
    utilisation: float | None = None  # the share of the machine's arithmetic that training used
    not_made: frozenset[str] = frozenset()  # metrics that the experiment holds, but of another run


def read_curves(result: Result, root: Path, *, of_chat: bool = False) -> Curves:
    """The curves and samples of a finished experiment of the repository at `root`: of its base model or chat model."""
    prefix = "finetune_" if of_chat else ""
    # DVC sees the files of a commit from the root of git, below which the project may lie.
    below = ask_git("-C", str(root), "rev-parse", "--show-prefix").rstrip("\n")
    files = DVCFileSystem(str(root), rev=result.rev, subrepos=bool(below))
    others = left_over(files, result.parameters)

    def text(path: str) -> str | None:
        return None if path in others else _text(files, below + path)

    train, valid = (_table(text(path.format(prefix))) for path in (TRAIN, VALID))
    samples = _answers(text("samples/chat.json")) if of_chat else _samples(text("samples/base.json"))
    not_made = frozenset(
        name
        for path in others
        if path.startswith("metrics/")
        for name in named_metrics(path, json.loads(_text(files, below + path) or "{}"))
    )
    timing = root / ".timings" / f"{result.outs.get(STEPS.format(prefix))}.json"
    if train is None or not timing.exists():
        return Curves(train, valid, samples, None, None, None, not_made)
    values = read_json(timing)
    elapsed_s = dict(zip(values["steps"], values["elapsed_s"], strict=True))
    for table in (train, valid):
        if table is not None:
            table["elapsed_s"] = table["step"].map(_interpolated(elapsed_s, table["step"]))
    speed = None
    if elapsed_s and len(train):
        last = train.iloc[-1]
        speed = float(last["tokens"]) / float(last["elapsed_s"])
    return Curves(train, valid, samples, values["machine"], speed, utilisation(values), not_made)


def _interpolated(elapsed_s: dict[int, float], steps: "pd.Series[int]") -> dict[int, float]:
    """The seconds at each step; between two timed steps they are interpolated."""
    times = pd.Series({0: 0.0} | elapsed_s, dtype=float)
    times = times.reindex(sorted({0, *elapsed_s, *steps})).interpolate("index")
    return dict(zip(times.index.tolist(), times.tolist(), strict=True))


def _table(text: str | None) -> pd.DataFrame | None:
    return None if text is None else pd.read_csv(io.StringIO(text))


def _samples(text: str | None) -> tuple[Sample, ...] | None:
    if text is None:
        return None
    return tuple(Sample(entry["prompt"], entry["text"], entry["complete"]) for entry in json.loads(text)["samples"])


def _answers(text: str | None) -> tuple[Sample, ...] | None:
    """The first answer in each of the first dialogues, to what the user says."""
    if text is None:
        return None
    answered = [entry for entry in json.loads(text) if entry["answers"]][:_N_DIALOGUES]
    return tuple(
        Sample(entry["messages"][first["message"] - 1]["content"] + "\n\n", first["text"], first["ended"])
        for entry in answered
        for first in entry["answers"][:1]
    )


def _text(files: DVCFileSystem, path: str) -> str | None:
    try:
        return bytes(files.read_bytes(path)).decode()
    except FileNotFoundError:
        return None
