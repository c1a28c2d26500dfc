"""Take an experiment into the workspace: its parameters, its results, and its outs."""

import argparse
from pathlib import Path

from experiments.define.parameters import flatten, load_mapping, parse_mapping
from experiments.define.params_text import with_values
from experiments.run.dvc_commands import ask_git, run_dvc, uncommitted_files
from experiments.run.start import PARAMS
from experiments.run.verify import resolve_revision
from lm.system.files import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to a parser."""
    parser.add_argument("name", metavar="NAME", help="the name of an experiment of DVC, as `dvc exp list` prints it")


def main(arguments: argparse.Namespace) -> int:
    """The exit status: 0 when the workspace holds the experiment, 1 when DVC could not apply it.

    Raises:
        ValueError: when there is no such experiment, or uncommitted changes would be lost.
    """
    name = arguments.name
    if changed := uncommitted_files():
        raise ValueError(
            f"{', '.join(changed)}: must have no uncommitted changes, because they would be lost: "
            "git commit -a, git stash, or git reset --hard"
        )
    commit = resolve_revision(Path.cwd(), name)
    before = ask_git("show", f"{commit}^:./{PARAMS}")  # DVC commits an experiment on its start
    if run_dvc(["dvc", "exp", "apply", name]):
        return 1
    new = ask_git("diff", "--name-only", "-z", "--relative", "--diff-filter=A", "HEAD", commit).split("\0")[:-1]
    if new:
        ask_git("add", "--", *new)  # so that `git reset --hard` removes them
    _keep_text(before)
    print(f"the workspace holds {name} now; back to the commit: git reset --hard && dvc checkout")
    return 0


def _keep_text(before: str) -> None:
    """Write params.yaml as it was, with the values that it has now, because DVC drops every `null`."""
    now = load_mapping(PARAMS)
    text = with_values(before, flatten(now))
    if parse_mapping(text, str(PARAMS)) == now:
        with replacing(PARAMS) as file:
            file.write(text.encode())
