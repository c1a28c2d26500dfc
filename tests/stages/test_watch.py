"""Edits during a run, on a small project whose one stage waits until it is told to end."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lm.system.files import sha256
from tests.project import ROOT

CODE = [
    "lm/__init__.py",
    "lm/config/__init__.py",
    "lm/config/base.py",
    "lm/config/observe.py",
    "lm/system/__init__.py",
    "lm/system/files.py",
    "lm/system/installation.py",
    "lm/system/messages.py",
    "lm/system/stopping.py",
    "lm/training/__init__.py",
    "lm/training/saved_runs.py",
    "stages/__init__.py",
    "stages/experiment.py",
    "stages/pipeline.py",
    "stages/snapshot.py",
    "stages/support.py",
    "stages/watch.py",
]
STAGE = '''"""Waits."""
import time
from pathlib import Path
from lm.config.observe import ObserveConfig
from stages.support import Stage, run

def main(stage: Stage) -> None:
    stage.section(ObserveConfig)
    Path("ready").touch()
    while not Path("end").exists():
        time.sleep(0.02)
        if Path("import").exists():
            import lm.late
            Path("import").unlink()

if __name__ == "__main__":
    run(main, __doc__, inputs={"text": "a file"}, outs={})
'''
OWN = ["lm/late.py", "stages/wait.py"]
PARAMS = "seed: 1\nobserve:\n  log_every: 10\n  tensorboard: false\nother:\n  size: 3\n"


class Project:
    """A project with the stage `wait`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: subprocess.Popen[str] | None = None
        for name in CODE:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, path / name)
        self.write("lm/late.py", "VALUE = 1\n")
        self.write("stages/wait.py", STAGE)
        self.write("params.yaml", PARAMS)
        self.write("text.txt", "text\n")
        self.list_code(*CODE, *OWN)
        self.declare("text.txt")

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")

    def append(self, name: str, text: str) -> None:
        self.write(name, (self.path / name).read_text() + text)

    def list_code(self, *names: str) -> None:
        """Write the list of the code as it is now."""
        self.write("code.json", json.dumps({name: sha256(self.path / name) for name in names}))

    def declare(self, *deps: str) -> None:
        """Write a dvc.yaml with these deps."""
        self.write("dvc.yaml", "stages:\n  wait:\n    deps:\n" + "".join(f"      - {dep}\n" for dep in deps))

    def start(self, *, code: str | None = "code.json", **environment: str) -> None:
        """Start the stage, with a list of its code or without, and return when it waits."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
        flags = [f"--code={code}"] if code else []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stages.wait", "--params=params.yaml", "--text=text.txt", *flags],
            cwd=self.path,
            env=clean | {"STORYLINE_PATIENCE_S": "0.3"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.wait_until(lambda: (self.path / "ready").exists())
        (self.path / "ready").unlink(missing_ok=True)

    def import_late(self) -> None:
        """Let the stage import lm.late."""
        (self.path / "import").touch()
        self.wait_until(lambda: not (self.path / "import").exists())

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait until something is done, or the stage has ended."""
        deadline = time.monotonic() + 30
        while not done() and self.process is not None and self.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def output(self, status: int) -> str:
        """What the stage has printed when it ends by itself, with this status."""
        assert self.process is not None
        output = self.process.communicate(timeout=30)[0]
        assert self.process.returncode == status, output
        return output

    def end(self, status: int = 0) -> str:
        """The same after it was told to end."""
        (self.path / "end").touch()
        return self.output(status)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    if project.process is not None:
        project.process.kill()


RULE = "until the stage ends, because DVC files what stands there then"
CURE = "put it back, or run again"
HINT = "(a refused `dvc exp run` leaves its parameters there)"


@pytest.mark.parametrize("name", ["lm/late.py", "stages/wait.py", "lm/config/base.py", "text.txt"])
def test_an_edit_of_any_dependency_ends_the_stage(project: Project, name: str) -> None:
    project.start()
    project.append(name, "# edited\n")
    assert project.output(1) == f"error: {name}: must stay as it was {RULE}; {CURE}\n"


def test_an_edit_is_seen_where_the_code_is_imported_after_it(project: Project) -> None:
    project.start()
    project.write("lm/late.py", "VALUE = 2\n")
    project.import_late()
    assert project.output(1) == f"error: lm/late.py: must stay as it was {RULE}; {CURE}\n"


def test_an_edit_of_code_that_the_stage_does_not_use_is_none(project: Project) -> None:
    project.write("lm/unused.py", "")
    project.start()
    project.append("lm/unused.py", "# edited\n")
    time.sleep(1.2)
    assert project.end() == ""


def test_without_a_list_all_code_is_watched(project: Project) -> None:
    project.write("lm/unused.py", "# not used\n")
    project.start(code=None)
    project.append("lm/unused.py", "# edited\n")
    assert project.output(1) == f"error: lm/unused.py: must stay as it was {RULE}; {CURE}\n"


def test_code_that_was_edited_since_it_was_listed_is_refused(project: Project) -> None:
    project.append("lm/late.py", "# edited\n")
    project.start()
    rule = "must be as code.json lists it; `dvc repro code` lists the code as it is now"
    assert project.output(1) == f"error: lm/late.py: {rule}\n"


def test_what_is_put_back_has_not_changed(project: Project) -> None:
    project.start(STORYLINE_PATIENCE_S="5")
    for name in ("lm/late.py", "params.yaml"):
        text = (project.path / name).read_text()
        project.write(name, "")
        time.sleep(0.2)
        project.write(name, text)
    (project.path / "stages/wait.py").touch()
    time.sleep(1.2)
    assert project.end() == ""


def test_a_file_that_is_gone_has_changed(project: Project) -> None:
    project.start()
    (project.path / "lm/late.py").unlink()
    assert project.output(1) == f"error: lm/late.py: must stay as it was {RULE}; {CURE}\n"


def test_a_parameter_that_the_stage_has_read_must_stay(project: Project) -> None:
    project.start()
    project.write("params.yaml", PARAMS.replace("log_every: 10", "log_every: 20  # more"))
    assert project.output(1) == f"error: params.yaml: observe.log_every: must stay 10 {RULE}, got 20; {CURE} {HINT}\n"


def test_comments_and_the_parameters_of_other_stages_may_change(project: Project) -> None:
    project.start()
    project.write("params.yaml", "# one\n" + PARAMS.replace("size: 3", "size: 4").replace("seed: 1", "seed: 2"))
    time.sleep(1.2)
    assert project.end() == ""


def test_of_a_section_only_the_parameters_that_the_stage_names_must_stay(project: Project) -> None:
    project.write("stages/wait.py", STAGE.replace("(ObserveConfig)", '(ObserveConfig, "log_every")'))
    project.list_code(*CODE, *OWN)
    project.start()
    project.write("params.yaml", PARAMS.replace("tensorboard: false", "tensorboard: true"))
    time.sleep(1.2)
    assert project.end() == ""
    (project.path / "end").unlink()
    project.write("params.yaml", PARAMS)
    project.start()
    project.write("params.yaml", PARAMS.replace("log_every: 10", "log_every: 20"))
    assert project.output(1).startswith("error: params.yaml: observe.log_every: must stay 10 ")


def test_in_an_experiment_no_parameter_may_change(project: Project) -> None:
    project.start(DVC_EXP_NAME="mine")
    project.write("params.yaml", PARAMS.replace("size: 3", "size: 4"))
    assert project.output(1) == f"error: params.yaml: other.size: must stay 3 {RULE}, got 4; {CURE} {HINT}\n"


def test_in_an_experiment_no_parameter_may_have_changed_since_its_first_stage(project: Project) -> None:
    # What the first stage notes, for a stage that this process starts.
    started = Path(f"/proc/{os.getpid()}/stat")
    number = started.read_text().rpartition(")")[2].split()[19] if started.exists() else ""
    began = {"seed": 1, "observe": {"log_every": 10, "tensorboard": False}, "other": {"size": 2}}
    (project.path / ".dvc/tmp").mkdir(parents=True)
    project.write(
        ".dvc/tmp/storyline-experiment.json",
        json.dumps({"run": ["mine", str(os.getpid()), number], "parameters": began}),
    )
    project.start(DVC_EXP_NAME="mine")
    assert project.output(1) == f"error: params.yaml: other.size: must stay 2 {RULE}, got 3; {CURE} {HINT}\n"
    project.start(DVC_EXP_NAME="another")
    assert project.end() == ""


def test_an_edit_just_before_the_end_is_seen(project: Project) -> None:
    project.start(STORYLINE_PATIENCE_S="0.01")
    project.append("lm/late.py", "# edited\n")
    assert project.end(1) == f"error: lm/late.py: must stay as it was {RULE}; {CURE}\n"


def test_code_that_is_listed_nowhere_is_named(project: Project) -> None:
    missing = (
        "error: dvc.yaml: stages.wait.deps: must list {}, which the stage uses without an `import` of it in lm/ or "
        "stages/\n"
    )
    project.list_code(*(name for name in CODE if name != "lm/config/base.py"), *OWN)
    project.start()
    assert project.output(1) == missing.format("lm/config/base.py")
    project.list_code(*CODE, "stages/wait.py")
    project.start()
    project.import_late()
    assert project.output(1) == missing.format("lm/late.py")
    project.declare("lm")  # a folder lists all that lies in it
    project.start()
    project.import_late()
    assert project.end() == ""


def test_under_dvc_a_dependency_that_is_no_flag_counts_too(project: Project) -> None:
    project.write("words.txt", "words\n")
    project.declare("words.txt")
    project.start(DVC_STAGE="wait")
    project.append("words.txt", "more\n")
    assert project.output(1) == f"error: words.txt: must stay as it was {RULE}; {CURE}\n"
