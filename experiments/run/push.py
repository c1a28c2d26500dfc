"""Push the run-cache and all the files it names to a DVC remote, so that another clone can restore every run.

python -m experiments push              to the default remote
python -m experiments push --remote store

`dvc push --run-cache` sends the record of each run, but of the files those runs made only the ones of the workspace,
and no metrics, which git holds.
"""

import argparse
import sys

from botocore.exceptions import BotoCoreError
from dvc.exceptions import DvcException
from dvc.repo import Repo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to a parser."""
    parser.add_argument("-r", "--remote", metavar="NAME", help="where to; the default remote unless given")


def main(arguments: argparse.Namespace) -> int:
    """The exit status: 0, 1 where files could not be pushed, 2 without a remote."""
    try:
        n_runs, n_pushed, n_failed = push(arguments.remote)
    except (DvcException, OSError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{n_runs} runs, {n_pushed} new files pushed" + (f", {n_failed} failed" if n_failed else ""))
    return 1 if n_failed else 0


def push(remote: str | None) -> tuple[int, int, int]:
    """How many runs were pushed, how many of their files were new to the remote, and how many failed."""
    with Repo() as repo:
        runs = repo.stage_cache.push(remote)
        results = [
            repo.cloud.push(files, remote=remote, odb=database)
            for database, files in repo.used_objs(used_run_cache=runs, remote=remote).items()
        ]
    return len(runs), sum(len(one.transferred) for one in results), sum(len(one.failed) for one in results)
