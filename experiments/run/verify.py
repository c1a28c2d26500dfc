"""Run the pipeline of a commit again from nothing, in a scratch clone, and compare every out with its dvc.lock.

python -m experiments verify                    what HEAD says
python -m experiments verify wide --stage train     an experiment, up to a stage
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from experiments.run.differences import first_difference

# Where git and DVC look for a repository, as hooks and stages inherit it: the scratch clone is one of its own.
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME")
# In `.dvc/config.local`, which outranks every other file: nothing is taken from a shared cache, nor put there.
_OWN_CACHE = "[cache]\n    dir = cache\n"


@dataclass(frozen=True)
class Out:
    """An out of a stage, with the hash that dvc.lock records and the one that the scratch clone came to."""

    stage: str
    path: str
    expected: str | None
    got: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to a parser."""
    parser.add_argument("revision", nargs="?", default="HEAD", metavar="REV", help="commit, branch or DVC experiment")
    parser.add_argument("--stage", metavar="NAME", help="this stage and the ones before it only")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the scratch clone there and leave it")


def main(arguments: argparse.Namespace) -> int:
    """The exit status: 0 where all is identical, 1 where something differs or failed, 2 for what cannot be verified."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _verify(arguments.revision, arguments.stage, arguments.keep)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _verify(revision: str, stage: str | None, keep: Path | None) -> int:
    if (top := _git(Path.cwd(), "rev-parse", "--show-toplevel")) is None:
        raise ValueError(f"{Path.cwd()}: must be in a git repository")
    root = Path(top)
    commit = resolve(root, revision)
    text = _git(root, "show", f"{commit}:dvc.lock")
    if text is None:
        raise ValueError(f"{revision}: must hold a dvc.lock, got {commit[:12]} without one")
    expected = _hashes(text)
    if stage is not None and stage not in expected:
        raise ValueError(f"--stage: must be one of {', '.join(expected)}, got {stage}")
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ValueError(f"--keep: must be a new or an empty folder, got {keep}")
    if _git(root, "status", "--porcelain"):
        print("uncommitted changes are not part of this: the scratch clone holds what is committed")
    with _scratch(keep) as folder:
        print(f"verifying {revision} ({commit[:12]}) in {folder}", flush=True)
        clone(root, commit, folder)
        if (status := _reproduce(folder, stage)) != 0:
            print(f"error: dvc repro: must succeed in the scratch clone, got status {status}", file=sys.stderr)
            return 1
        outs = compare(expected, _hashes((folder / "dvc.lock").read_text()), whole=stage is None)
        return _report(outs, root, folder)


def resolve(root: Path, revision: str) -> str:
    """The commit of a revision of git's, or else of the DVC experiment of that name.

    Raises:
        ValueError: when there is none, or several experiments have that name.
    """
    if commit := _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"):
        return commit
    references = _git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps") or ""
    # refs/exps/BA/SELINE.../NAME; the others there are DVC's own
    found = [line.split()[0] for line in references.splitlines() if line.split("/")[4:] == [revision]]
    if len(found) != 1:
        rule = "must be a commit, a branch or a DVC experiment"
        raise ValueError(f"{revision}: {rule}, got {f'{len(found)} of that name' if found else 'none of these'}")
    return found[0]


def clone(root: Path, commit: str, folder: Path) -> None:
    """Make a clone that has nothing but what is committed: no DVC cache, no hashes to rely on."""
    for command in (
        ["clone", "--quiet", "--no-checkout", str(root), str(folder)],
        ["-C", str(folder), "-c", "protocol.version=2", "fetch", "--quiet", "origin", commit],  # may be on no branch
        ["-C", str(folder), "checkout", "--quiet", "--detach", commit],
    ):
        subprocess.run(["git", *command], check=True, env=_environment())
    (folder / "dvc.lock").unlink()  # what stands in the new one was run
    (folder / ".dvc" / "config.local").write_text(_OWN_CACHE)


def compare(expected: dict[str, dict[str, str]], got: dict[str, dict[str, str]], *, whole: bool = True) -> list[Out]:
    """Every out with both hashes, in the order the stages ran.

    Stages that did not run come last, or not at all unless the whole pipeline was to run.
    """
    return [
        Out(stage, path, expected.get(stage, {}).get(path), got.get(stage, {}).get(path))
        for stage in dict.fromkeys([*got, *(expected if whole else ())])
        for path in dict.fromkeys([*expected.get(stage, {}), *got.get(stage, {})])
    ]


def _report(outs: list[Out], root: Path, folder: Path) -> int:
    """Print a line an out and the first difference; the exit status."""
    width = max(len(out.stage) for out in outs)
    for out in outs:
        print(f"{'identical' if out.expected == out.got else 'DIFFERS  '}  {out.stage:{width}}  {out.path}")
    differing = [out for out in outs if out.expected != out.got]
    print(f"{len(outs) - len(differing)} of {len(outs)} outs are identical")
    if not differing:
        return 0
    first = differing[0]
    print(
        f"first difference: stage {first.stage}, {first.path}: "
        f"dvc.lock says {first.expected or 'nothing'}, got {first.got or 'nothing'}"
    )
    if first.expected and first.got:
        original = _content(root, first.path, first.expected)
        print(
            f"where: {first_difference(original, folder / first.path)}"
            if original
            else "where: unknown, for neither the workspace nor the DVC cache has the original"
        )
    return 1


def _content(root: Path, path: str, md5: str) -> Path | None:
    """A file of the repository with that hash: the out itself or its copy in the DVC cache; None where neither is."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    cache = subprocess.run(command, cwd=root, capture_output=True, text=True, env=_environment(), check=True).stdout
    for candidate in (root / path, Path(root, cache.strip(), "files", "md5", md5[:2], md5[2:])):
        if candidate.is_file():
            with candidate.open("rb") as file:
                if hashlib.file_digest(file, "md5").hexdigest() == md5:
                    return candidate
    return None


def _reproduce(folder: Path, stage: str | None) -> int:
    """The exit status of `dvc repro`, whose output is seen.

    It has a process group of its own, so that a Ctrl-C reaches dvc and its stage once, and from here.
    """
    command = [sys.executable, "-m", "dvc", "repro", "--force", *([stage] if stage else [])]
    environment = _environment() | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site"),  # it goes with the clone
    }
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    """A folder for the clone, which goes with the block unless it is to be kept."""
    if keep is not None:
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="storyline-verify-") as folder:
        yield Path(folder) / "storyline"


def _hashes(lock: str) -> dict[str, dict[str, str]]:
    """The hash of each out of each stage in the text of a dvc.lock."""
    stages: dict[str, Any] = YAML(typ="safe").load(lock)["stages"]
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where it fails."""
    command = ["git", "-C", str(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
