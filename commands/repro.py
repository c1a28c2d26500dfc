"""Run the pipeline with DVC, and say at its end what it has made.

python -m commands.repro              all stages that are not up to date
python -m commands.repro evaluate     those up to one stage
"""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TextIO

from dvc.cli import main as dvc
from dvc.repo import Repo

from commands.summary import TARGETS, summary
from lm.config.base import read_yaml
from lm.config.sections import check_parameters

_ADVICE = "Use `dvc push`"  # how DVC's line at the end of a run begins


class WithoutAdvice(io.TextIOBase):
    """A stream without DVC's advice to push, which `dvc repro` gives even where there is no remote to push to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._left_out = stream, False

    def write(self, text: str) -> int:
        """Write a text, unless it is that advice or the line break after it."""
        self._left_out = text.startswith(_ADVICE) or (self._left_out and text == "\n")
        return len(text) if self._left_out else self._stream.write(text)

    def flush(self) -> None:
        """Write what waits."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()


def main(words: list[str]) -> int:
    """The exit status of DVC. Only if all went well, the summary is printed.

    A mistake in params.yaml is told before DVC starts, because DVC shows YAML that is wrong as several lines.
    """
    if len(words) > 1 or words[:1] == ["repro"] or not set(words) <= TARGETS.keys():
        sys.exit(__doc__)
    try:
        check_parameters(read_yaml(Path("params.yaml")))
    except (ValueError, OSError) as error:
        return _fail(error)
    with redirect_stdout(sys.stdout if _has_remote() else WithoutAdvice(sys.stdout)):
        status = int(dvc(["repro", *words]))
    if status == 0:
        try:
            print(summary(words[0] if words else "repro", Path()))
        except (ValueError, OSError) as error:
            return _fail(error)
    return status


def _fail(error: Exception) -> int:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    return 1


def _has_remote() -> bool:
    """Whether `dvc push` would know where to push to. Without a repository DVC says so itself."""
    try:
        with Repo() as repo:
            return "remote" in repo.config["core"]
    except Exception:  # whatever is wrong, DVC's own command says it
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
