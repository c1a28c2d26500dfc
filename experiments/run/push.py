"""Push the run cache and all files of its runs to a DVC remote, so that another clone can restore every run.

python -m experiments push              to the default remote
python -m experiments push --remote store

`dvc push --run-cache` alone is not enough. It sends the record of each run, but of the files that the runs made only
those in the workspace, and no metrics, because git holds them.
"""

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to a parser."""
    parser.add_argument(
        "-r", "--remote", metavar="NAME", help="the remote to push to (default: the default remote of DVC)"
    )


def main(arguments: argparse.Namespace) -> int:
    """The exit status: 0 when all is pushed, 1 when some files could not be pushed, 2 without a remote."""
    from botocore.exceptions import BotoCoreError  # here, as DVC below: the other commands need not load them
    from dvc.exceptions import DvcException

    try:
        n_runs, n_pushed, n_failed = push(arguments.remote)
    except (DvcException, OSError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{n_runs} runs, {n_pushed} new files pushed" + (f", {n_failed} failed" if n_failed else ""))
    return 1 if n_failed else 0


def push(remote: str | None) -> tuple[int, int, int]:
    """How many runs were pushed, how many of their files were new to the remote, and how many files failed."""
    from dvc.repo import Repo

    with Repo() as repo:
        runs = repo.stage_cache.push(remote)
        transfers = [
            repo.cloud.push(files, remote=remote, odb=database)
            for database, files in repo.used_objs(used_run_cache=runs, remote=remote).items()
        ]
    return len(runs), sum(len(files.transferred) for files in transfers), sum(len(files.failed) for files in transfers)
