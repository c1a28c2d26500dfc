"""Run the pipeline of a commit again in a scratch clone, from nothing, and compare every out with its dvc.lock.

python -m experiments verify                        the commit HEAD
python -m experiments verify wide --stage train     the experiment `wide`, up to the stage `train`
"""

import argparse
import hashlib
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from experiments.run.file_difference import first_difference
from experiments.run.scratch_clone import clean_environment, clone, forget_results, reproduce, scratch_folder


@dataclass(frozen=True)
class Out:
    """An out of a stage, with its hash in dvc.lock and in the scratch clone; None where there is no such out."""

    stage: str
    path: str
    expected: str | None
    got: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command to a parser."""
    parser.add_argument("revision", nargs="?", default="HEAD", metavar="REV", help="commit, branch or DVC experiment")
    parser.add_argument("--stage", metavar="NAME", help="run only this stage and the stages it depends on")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the scratch clone in this folder, and keep it")


def main(arguments: argparse.Namespace) -> int:
    """The exit status: 0 when all outs are identical, 1 when one differs or a stage failed, 2 for a wrong argument."""
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
    root, project = Path(top), Path(top, _git(Path.cwd(), "rev-parse", "--show-prefix") or "")
    commit = resolve_revision(root, revision)
    text = _git(project, "show", f"{commit}:./dvc.lock")
    if text is None:
        raise ValueError(f"{revision}: must hold a dvc.lock, got {commit[:12]} without one")
    expected = _hashes(text)
    if stage is not None and stage not in expected:
        raise ValueError(f"--stage: must be one of {', '.join(expected)}, got {stage}")
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ValueError(f"--keep: must be a new or an empty folder, got {keep}")
    if _git(root, "status", "--porcelain"):
        print("uncommitted changes are not part of this check, because the scratch clone holds only what is committed")
    with scratch_folder(keep) as folder:
        print(f"verifying {revision} ({commit[:12]}) in {folder}", flush=True)
        copy = folder / project.relative_to(root)
        clone(root, commit, folder)
        forget_results(copy)
        if (status := reproduce(copy, stage)) != 0:
            print(f"error: dvc repro: must succeed in the scratch clone, got status {status}", file=sys.stderr)
            return 1
        outs = compare_outs(expected, _hashes((copy / "dvc.lock").read_text()), whole=stage is None)
        return _report(outs, project, copy)


def resolve_revision(root: Path, revision: str) -> str:
    """The commit of a git revision, or else of the DVC experiment of that name.

    Raises:
        ValueError: when there is no such revision or experiment, or several experiments have that name.
    """
    if commit := _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"):
        return commit
    references = _git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps") or ""
    # An experiment is refs/exps/BA/SELINE.../NAME. The other references there belong to DVC itself.
    commits = [line.split()[0] for line in references.splitlines() if line.split("/")[4:] == [revision]]
    if len(commits) != 1:
        rule = "must be a commit, a branch or a DVC experiment"
        raise ValueError(f"{revision}: {rule}, got {f'{len(commits)} of that name' if commits else 'none of these'}")
    return commits[0]


def compare_outs(
    expected: dict[str, dict[str, str]], got: dict[str, dict[str, str]], *, whole: bool = True
) -> list[Out]:
    """Every out with both hashes, in the order in which the stages ran.

    Stages that did not run come last. They are left out where only a part of the pipeline was to run (`whole=False`).
    """
    return [
        Out(stage, path, expected.get(stage, {}).get(path), got.get(stage, {}).get(path))
        for stage in dict.fromkeys([*got, *(expected if whole else ())])
        for path in dict.fromkeys([*expected.get(stage, {}), *got.get(stage, {})])
    ]


def _report(outs: list[Out], root: Path, folder: Path) -> int:
    """The exit status. Prints a line for each out, and the first difference."""
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
            else "where: unknown, because neither the workspace nor the DVC cache has the original"
        )
    return 1


def _content(root: Path, path: str, md5: str) -> Path | None:
    """A file with that hash: the out in the workspace, or its copy in the DVC cache; None where neither exists."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    cache = subprocess.run(
        command, cwd=root, capture_output=True, text=True, env=clean_environment(), check=True
    ).stdout
    for candidate in (root / path, Path(root, cache.strip(), "files", "md5", md5[:2], md5[2:])):
        if candidate.is_file():
            with candidate.open("rb") as file:
                if hashlib.file_digest(file, "md5").hexdigest() == md5:
                    return candidate
    return None


def _hashes(lock: str) -> dict[str, dict[str, str]]:
    """The hash of each out of each stage in the text of a dvc.lock."""
    stages: dict[str, Any] = YAML(typ="safe", pure=True).load(lock)["stages"]
    return {name: {out["path"]: out["md5"] for out in stage.get("outs", [])} for name, stage in stages.items()}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None when it fails."""
    command = ["git", "-C", str(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False)
    return result.stdout.strip() if result.returncode == 0 else None
