"""`python -m experiments` end to end: real runs of a micro pipeline, DVC's queue, failures, interruption."""

import csv
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.define.parameters import Overrides, flatten, parse_mapping
from experiments.run.verify import resolve_revision
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

EXPERIMENTS = """
presets:
  short: {asks: Does it run?, hardware: any CPU, train: {steps: 10}}
sets:
  norms:
    asks: Does it need norms, and how fast may it learn?
    train: {steps: 40, if_diverged: record}
    experiments:
      baseline: {asks: As it is?}
      none: {asks: Twice the steps without norms?, model: {norm: none}, train: {steps: 80}}
      blowing-up:
        asks: At no speed limit?
        train: {optimizer: sgd, learning_rate: 1e10, clip_norm: null, warmup_steps: 0}
  failing:
    asks: What if a run fails?
    experiments:
      good: {asks: A good one?, train: {steps: 20}}
      bad: {asks: A bad one?, train: {steps: 20, optimizer: sgd, learning_rate: 1e10, clip_norm: null, warmup_steps: 0}}
"""
PYTHON = [sys.executable, "-m", "experiments"]


def up_to_tokens(workspace: Workspace, *stages: str) -> Workspace:
    """The workspace, cut down to these stages behind its tokens, not run yet; with a small experiments.yaml."""
    workspace.only(*stages)
    workspace.undo(stages)
    workspace.set("train", backend="numpy")  # which starts sooner than PyTorch
    (workspace.path / "experiments.yaml").write_text(EXPERIMENTS)
    workspace.commit()
    return workspace


@pytest.fixture(scope="module")
def workspace(micro: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A micro pipeline whose runs have all that is compared of a base model."""
    return up_to_tokens(micro.copy(tmp_path_factory.mktemp("experiments")), "train", "evaluate", "sample", "plot")


@pytest.fixture(scope="module")
def short(micro: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A micro pipeline with the least that makes a result, for tests of how experiments are run."""
    return up_to_tokens(micro.copy(tmp_path_factory.mktemp("short")), "train", "evaluate")


@pytest.fixture(scope="module")
def trained(micro: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A micro pipeline for tests that compare nothing: training in NumPy starts much sooner than an evaluation."""
    return up_to_tokens(micro.copy(tmp_path_factory.mktemp("trained")), "train")


@pytest.fixture(scope="module")
def norms(workspace: Workspace) -> str:
    """What running the set `norms` printed."""
    return workspace.run(*PYTHON, "run", "norms")


def names(workspace: Workspace) -> set[str]:
    return set(workspace.run("dvc", "exp", "list", "--name-only").split())


def parameters(workspace: Workspace, name: str) -> Overrides:
    """The values of params.yaml in a commit or an experiment."""
    text = workspace.run("git", "show", f"{resolve_revision(workspace.path, name)}:params.yaml")
    return flatten(parse_mapping(text, name))


def test_a_set_runs_and_leaves_the_workspace_as_it_was(workspace: Workspace, norms: str) -> None:
    assert "[3/3] dvc exp run --temp -n norms-blowing-up -S train.steps=40 -S train.if_diverged=record" in norms
    assert names(workspace) >= {"norms-baseline", "norms-none", "norms-blowing-up"}
    assert workspace.run("git", "status", "--porcelain") == ""


def test_what_is_done_is_not_run_again(workspace: Workspace, norms: str) -> None:
    output = workspace.run(*PYTHON, "run", "norms")
    assert output.count("is done already") == 3
    assert "dvc exp run" not in output


def test_a_printed_command_does_the_same_by_hand(workspace: Workspace, norms: str) -> None:
    line = next(line for line in norms.splitlines() if "-n norms-none " in line)
    words = line.partition("] ")[2].replace("norms-none", "by-hand").split()
    assert "Stage 'train' is cached" in workspace.run(*words)  # the same parameters: nothing to train
    assert workspace.run("git", "status", "--porcelain") == ""
    workspace.run("dvc", "exp", "remove", "by-hand")


def test_the_comparison_shows_every_experiment(workspace: Workspace, norms: str, tmp_path: Path) -> None:
    files = ["--markdown", str(tmp_path / "t.md"), "--csv", str(tmp_path / "t.csv"), "--plots", str(tmp_path / "plots")]
    output = workspace.run(*PYTHON, "compare", "norms", *files)
    lines = {line.split()[0]: line for line in output.splitlines() if line}
    assert "baseline" in lines["baseline"]
    assert "norm=none, steps=80" in lines["none"]
    assert "diverged" in lines["blowing-up"]
    assert sum("*" in line for line in lines.values()) == 1

    with (tmp_path / "t.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert len(rows) == 3
    assert rows["norms-none"]["model.norm"] == "none"
    assert rows["norms-blowing-up"]["diverged"] == "true"
    assert rows["norms-none"]["tokens"] == str(2 * int(rows["norms-baseline"]["tokens"]))
    assert all(float(row["tokens_per_s"]) > 0 for row in rows.values() if row["diverged"] == "false")
    assert (tmp_path / "t.md").read_text().startswith("| experiment | changes |")
    pictures = {path.name for path in (tmp_path / "plots").iterdir()}
    assert pictures == {f"norms-loss-by-{column}.png" for column in ("step", "tokens", "elapsed")}
    assert all((tmp_path / "plots" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)


def test_the_report_is_a_page_with_the_curves_of_every_run(workspace: Workspace, norms: str, tmp_path: Path) -> None:
    path = tmp_path / "norms.html"
    assert workspace.run(*PYTHON, "report", "norms", str(path)) == f"{path}\n"
    page = path.read_text()
    charts = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.DOTALL)
    assert charts is not None
    runs = {run["experiment"] for run in json.loads(charts[1])["valid"]["runs"]}
    assert runs == {"baseline", "none"}  # the third run diverged before its first validation
    assert "No loss was measured before the end of blowing-up, " in page
    # The texts of every run stand beside each other, one heading a prompt.
    assert page.count("<h3>“Once upon a time”</h3>") == 1
    assert "no samples here" not in page
    (line,) = [line for line in page.splitlines() if line.startswith("dvc exp run --temp -n norms-none ")]
    assert set(line.split()[6:]) == {"-S", "model.norm=none", "train.steps=80", "train.if_diverged=record"}


def test_plots_diff_takes_experiments_of_unequal_lengths(workspace: Workspace, norms: str, tmp_path: Path) -> None:
    workspace.run(sys.executable, "-m", "experiments.report.plot_page", ".dvc/plots/page.html")
    workspace.run("dvc", "plots", "diff", "norms-baseline", "norms-none", "norms-blowing-up", "-o", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    for name in ("norms-baseline", "norms-none"):
        assert name in page


def test_a_curve_that_is_not_here_is_no_error(workspace: Workspace, norms: str, tmp_path: Path) -> None:
    cache = workspace.path / ".dvc" / "cache"
    cache.rename(tmp_path / "cache")
    try:
        output = workspace.run(*PYTHON, "compare", "norms", "--plots", str(tmp_path / "plots"))
    finally:
        (tmp_path / "cache").rename(cache)
    assert "norm=none" in output
    assert not (tmp_path / "plots").exists()


def test_an_edited_definition_is_distinguished_from_what_was_run(workspace: Workspace, norms: str) -> None:
    path = workspace.path / "experiments.yaml"
    path.write_text(EXPERIMENTS.replace("steps: 80", "steps: 90"))
    try:
        assert "not as defined now: norms-none has train.steps=80" in workspace.run(*PYTHON, "compare", "norms")
        output = workspace.run(*PYTHON, "run", "norms", status=2)
    finally:
        path.write_text(EXPERIMENTS)
    assert output.splitlines()[-1] == (
        "error: norms-none: an experiment of this name has train.steps=80, now 90; "
        "add --force to replace it, or remove it: dvc exp remove norms-none"
    )


def test_experiments_start_from_the_commit_and_edits_of_the_workspace_survive(trained: Workspace) -> None:
    path = trained.path / "params.yaml"
    committed = path.read_text()
    edited = committed.replace("d_model: 32 ", "d_model: 48 ") + "# an edit that is not committed\n"
    path.write_text(edited)
    try:
        note = "experiments start from the committed params.yaml, not from the edited one: model.d_model is 48 here, 32"
        assert note in trained.run(*PYTHON, "run", "short")
        assert note in trained.run(*PYTHON, "try", "mine", "train.steps=12")
        assert "33,504 parameters" in trained.run(*PYTHON, "list")
        refused = trained.run(*PYTHON, "apply", "mine", status=2)
        assert refused.startswith("error: params.yaml: must have no uncommitted changes, because they would be lost")
        assert path.read_text() == edited
    finally:
        path.write_text(committed)
    assert parameters(trained, "short") == parameters(trained, "HEAD") | {"train.steps": 10}
    assert parameters(trained, "mine") == parameters(trained, "HEAD") | {"train.steps": 12}  # and nothing of `short`
    assert "is done already" in trained.run(*PYTHON, "run", "short")
    assert "train.steps=10, now 20" in trained.run(*PYTHON, "run", "short", "-S", "train.steps=20", status=2)
    trained.run(*PYTHON, "run", "short", "-S", "train.steps=20", "--force")
    assert "is done already" in trained.run(*PYTHON, "run", "short", "-S", "train.steps=20")

    back = trained.run(*PYTHON, "apply", "mine").splitlines()[-1]
    assert path.read_text() == committed.replace("steps: 120 ", "steps: 12  ")  # every comment and every null is there
    assert '"steps": 12,' in trained.read("metrics/train.json").decode()
    # The outs of this commit were never made, so dvc has none to bring back.
    trained.run("sh", "-c", back.partition("back to the commit: ")[2], status=None)
    assert trained.run("git", "status", "--porcelain") == ""
    assert path.read_text() == committed


def test_a_failed_run_does_not_stop_the_others(short: Workspace) -> None:
    output = short.run(*PYTHON, "run", "failing-bad", "failing-good", status=1)
    assert "; lower train.learning_rate or set train.clip_norm" in output
    assert output.splitlines()[-1] == "1 of 2 failed: failing-bad; the same command tries them again"
    assert "failing-good" in names(short)
    assert "failing-bad" not in names(short)
    compared = short.run(*PYTHON, "compare", "failing")
    assert compared.splitlines()[-1] == "without a result: failing-bad (not run)"


def test_ctrl_c_stops_with_one_line_and_the_same_command_continues(trained: Workspace) -> None:
    words = [*PYTHON, "run", "short", "-S", "train.steps=4000", "--seeds", "1337,2"]
    resume = trained.path / ".resume"
    before = {*resume.glob("*/state.npz")}  # of runs that have finished, in copies
    running = trained.start(*words, STORYLINE_SAVE_EVERY_S="0")
    deadline = time.monotonic() + 600
    while {*resume.glob("*/state.npz")} <= before:
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)  # the terminal also sends it to all processes in the foreground
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 130, output
    assert output.splitlines()[-1] == "stopped; run the same command again to continue"
    assert "[2/2]" not in output
    assert "short-s1337" not in names(trained)
    assert not {*resume.glob("*/state.npz")} <= before


def test_the_queue_runs_with_two_workers_and_keeps_the_log_of_a_failure(short: Workspace) -> None:
    # The seed of params.yaml, so that only training is new. Where two workers run the same stage at once, one may read
    # what the other has half written to DVC's memory of runs, and fail.
    words = ["run", "failing", "--jobs", "2", "--seeds", "1337", "-S", "model.n_layers=1"]
    output = short.run(*PYTHON, *words, status=1)
    assert "2 workers, each with OMP_NUM_THREADS=1" in output
    assert output.splitlines()[-1] == "failing-bad-s1337 failed: dvc queue logs failing-bad-s1337"
    assert "failing-good-s1337" in names(short)
    log = short.run("dvc", "queue", "logs", "failing-bad-s1337")
    assert "; lower train.learning_rate or set train.clip_norm" in log
    compared = short.run(*PYTHON, "compare", "failing", "--seeds", "1337")
    assert compared.splitlines()[-1] == "without a result: failing-bad-s1337 (failed)"
    short.run("dvc", "queue", "stop", "--kill", status=None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "norm"], "norm: no such experiment, did you mean norms?; `python -m experiments list` shows all"),
        (["run", "norms", "-S", "model.nrom=none"], "model.nrom: no such parameter, did you mean model.norm?"),
        (["run", "short", "-S", "model.d_model=33"], "short: model.d_model: must be a multiple of n_heads=2, got 33"),
        (
            ["compare", "norms", "--seeds", "99"],
            "norms: has no results from this commit; python -m experiments run norms",
        ),
        (
            ["run", "short", "--seeds", "1", "-S", "seed=2"],
            "seed: must be given as --seeds 2 for short, which runs once",
        ),
        (
            ["run", "short", "--seeds", "77", "-S", r"data.separator='a\b'"],
            r"'a\\b': must be written into params.yaml, because `dvc exp run -S` cannot",
        ),
        (
            ["compare", "norms", "--rev", "nowhere"],
            "dvc exp show --json --rev nowhere: failed to show experiments - unknown Git revision 'nowhere'",
        ),
    ],
)
def test_a_mistake_gets_one_line(
    workspace: Workspace,
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workspace.path)
    monkeypatch.setattr(sys, "argv", ["experiments", *words])
    assert main() == 2
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1


def test_list_and_show_say_what_there_is(workspace: Workspace) -> None:
    listing = workspace.run(*PYTHON, "list")
    assert "33,504 parameters  Does it run?" in listing
    assert " MiB of memory)" in listing  # what each needs at least
    assert "3 runs" in listing
    shown = workspace.run(*PYTHON, "show", "norms-none", "--seeds", "2")
    assert "norms-none-s2: Twice the steps without norms?" in shown
    assert (
        "dvc exp run --temp -n norms-none-s2 -S train.steps=80 -S train.if_diverged=record -S model.norm=none -S seed=2"
        in shown
    )
