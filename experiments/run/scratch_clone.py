"""A scratch clone of the repository, which holds only what is committed, and the pipeline run in it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Git hooks and DVC stages name their repository in these variables. The scratch clone is another repository.
_REPOSITORY_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME")
# `.dvc/config.local` overrules every other configuration file, so the clone neither reads nor fills a shared cache.
_OWN_CACHE = "[cache]\n    dir = cache\n"


@contextmanager
def scratch_folder(keep: Path | None) -> Iterator[Path]:
    """The folder for the clone: `keep`, or else a temporary folder that is deleted when the block ends."""
    if keep is not None:
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="storyline-verify-") as folder:
        yield Path(folder) / "storyline"


def clone(root: Path, commit: str, folder: Path) -> None:
    """Clone a commit of the repository at `root`, without its DVC cache."""
    for command in (
        ["clone", "--quiet", "--no-checkout", str(root), str(folder)],
        # The commit may be on no branch, so the clone alone may lack it.
        ["-C", str(folder), "-c", "protocol.version=2", "fetch", "--quiet", "origin", commit],
        ["-C", str(folder), "checkout", "--quiet", "--detach", commit],
    ):
        subprocess.run(["git", *command], check=True, env=clean_environment())


def forget_results(folder: Path) -> None:
    """Remove the hashes of all outs from a project, and give it a DVC cache of its own."""
    (folder / "dvc.lock").unlink()  # so every entry of the new dvc.lock comes from a stage that ran
    (folder / ".dvc" / "config.local").write_text(_OWN_CACHE)


def reproduce(folder: Path, stage: str | None) -> int:
    """The exit status of `dvc repro` in the clone, up to a stage. Its output goes to the terminal.

    The command runs in a process group of its own. So the terminal does not send Ctrl-C to dvc and its stage directly:
    this function sends it, once.
    """
    command = [sys.executable, "-m", "dvc", "repro", "--force", *([stage] if stage else [])]
    environment = clean_environment() | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp" / "site"),  # deleted together with the clone
    }
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, process_group=0)
    try:
        return process.wait()
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise


def clean_environment() -> dict[str, str]:
    """Our environment without the variables that name another repository."""
    return {name: value for name, value in os.environ.items() if name not in _REPOSITORY_VARIABLES}
