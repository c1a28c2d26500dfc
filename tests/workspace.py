"""A copy of the project in a folder of its own, shrunk until the whole pipeline takes seconds."""

import copy
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from ruamel.yaml import YAML

from experiments.define.params_text import with_values
from tests.project import ROOT

MICRO: dict[str, dict[str, Any]] = {
    "data": {"n_stories": 200, "n_valid_stories": 20},
    "tokenizer": {"vocab_size": 400},
    "model": {"context_length": 64, "d_model": 32, "n_layers": 2, "n_heads": 2},
    "train": {
        "precision": "fp32",  # on every machine, also those with bf16
        "steps": 120,
        "batch_size": 4,
        "valid_every": 20,
        "valid_sequences": 8,
    },
    "observe": {"log_every": 5},
    "sample": {"max_new_tokens": 20},
    "dialogues": {"n_dialogues": 60, "n_valid_dialogues": 12},
    "finetune": {"batch_size": 4, "valid_every": 5, "valid_sequences": 8},
    "chat": {"n_dialogues": None, "max_new_tokens": 10},
    "analyze": {"n_documents": 8, "n_stories": 4},
    "export": {"transformers": None, "gguf": None},  # tests/stages/test_export.py exports; its libraries import slowly
}

# Runs modules as `python -m` does, in one process: each argument is a name and the module's own arguments. Our code is
# imported anew for each, because a stage must see only its own imports. Multiprocessing keeps the main module too.
RUN_MODULES = """
import runpy, shlex, sys
for command in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] in ("lm", "stages", "__mp_main__")]:
        del sys.modules[name]
    sys.argv = shlex.split(command)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


class Workspace:
    """A git and DVC repository with the project's files as they are now, and micro parameters.

    It is made in the folder, unless it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "SHELL": "/bin/sh",  # dvc's choice where SHELL is unset; Debian's stays beside its command, bash makes way
        }
        self.environment.pop("DVC_ROOT", None)
        if not (path / ".git").exists():
            self._make()

    def _make(self) -> None:
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
        for name in names:
            wanted = name.startswith((".dvc", "lm/", "stages/", "commands/", "experiments/")) or name in (
                "dvc.yaml",
                "params.yaml",
                ".gitignore",
            )
            if wanted and (ROOT / name).is_file():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.path / name)
        for section, values in MICRO.items():
            self.set(section, **values)
        self.run("git", "init", "-q")
        self.run("git", "config", "user.name", "Tester")
        self.run("git", "config", "user.email", "tester@example.org")
        self.commit()

    def copy(self, path: Path) -> Self:
        """The same files, history and DVC cache in another folder."""
        shutil.copytree(self.path, path, symlinks=True, dirs_exist_ok=True)
        return self.at(path)

    def at(self, path: Path) -> Self:
        """The same environment in another folder."""
        other = copy.copy(self)
        other.path, other.environment = path, dict(self.environment)
        return other

    def only(self, *targets: str) -> None:
        """Cut the pipeline down to some stages and those they need, so that a test of something else takes less."""
        yaml = YAML()
        pipeline = yaml.load(self.path / "dvc.yaml")
        stages = pipeline["stages"]
        makers = {out: name for name, stage in stages.items() for out in _written_by(stage)}
        kept, left = set[str](), list(targets)
        while left:
            name = left.pop()
            kept.add(name)
            deps = {str(path) for dep in stages[name]["deps"] for path in (Path(dep), *Path(dep).parents)}
            left += {makers[dep] for dep in deps if dep in makers} - kept
        gone = {out for name, stage in stages.items() if name not in kept for out in _written_by(stage)}
        for name in stages.keys() - kept:
            del stages[name]
        pipeline["plots"] = [plot for plot in pipeline["plots"] if not any(out in str(plot) for out in gone)]
        yaml.dump(pipeline, self.path / "dvc.yaml")
        # As text, so that what stays is to the byte what DVC would write.
        head, *entries = re.split(r"(?m)^(?=  \w+:$)", self.read("dvc.lock").decode())
        entries = [entry for entry in entries if entry.split(":")[0].strip() in kept]
        (self.path / "dvc.lock").write_text("".join([head, *entries]))

    def undo(self, stages: Iterable[str]) -> None:
        """Make it look as if these stages had never run."""
        yaml = YAML()
        lock = yaml.load(self.path / "dvc.lock")
        for stage in stages:
            for out in lock["stages"].pop(stage)["outs"]:
                path = self.path / out["path"]
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        yaml.dump(lock, self.path / "dvc.lock")
        # DVC's memory of runs, from which it would restore an out instead of running the stage.
        shutil.rmtree(self.path / ".dvc" / "cache" / "runs")

    def set(self, section: str, **values: Any) -> None:
        """Edit params.yaml."""
        params = self.path / "params.yaml"
        params.write_text(with_values(params.read_text(), {f"{section}.{name}": values[name] for name in values}))

    def commit(self) -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "state", "--allow-empty")

    def run(self, *command: str, status: int | None = 0, **environment: str) -> str:
        """Output and errors of a command, which must end with `status` (None: with any)."""
        result = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert status is None or result.returncode == status, f"{command} gave {result.returncode}:\n{result.stdout}"
        return result.stdout

    def run_stages(self, *stages: str, status: int = 0) -> str:
        """Output and errors of stages that one process runs one after another, without dvc."""
        pipeline = YAML(typ="safe", pure=True).load(self.path / "dvc.yaml")["stages"]
        commands = [shlex.split(pipeline[stage]["cmd"])[3:] for stage in stages]  # without `exec python -m`
        return self.run("python", "-c", RUN_MODULES, *map(shlex.join, commands), status=status)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """A command in the background, leader of a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def steps_saved(self) -> int:
        """The last step of training that is saved for a run that goes on; 0 where none is."""
        for state in self.path.glob(".resume/*/state.npz"):
            with np.load(state, allow_pickle=False) as file:
                return int(json.loads(str(file["values"]))["step"])
        return 0

    def wait_for_step(self, step: int, process: subprocess.Popen[str]) -> None:
        """Return once the training that the process has started has saved that step."""
        deadline = time.monotonic() + 600
        while self.steps_saved() < step:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)  # reading a state takes time that the trainer needs

    def out_hashes(self) -> dict[str, str]:
        """The hash of every out that dvc.lock records."""
        stages = YAML(typ="safe", pure=True).load(self.path / "dvc.lock")["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}

    def read(self, name: str) -> bytes:
        """The content of a file, or of all files of a folder."""
        path = self.path / name
        return b"".join(file.read_bytes() for file in sorted(path.iterdir())) if path.is_dir() else path.read_bytes()


def _written_by(stage: Mapping[str, Any]) -> list[str]:
    """The outs and metrics of a stage of dvc.yaml."""
    entries = [*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ())]
    return [name for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]
