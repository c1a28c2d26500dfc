"""Whether this Python can run the project. This module imports only the standard library, of any Python 3."""

import sys
from importlib.util import find_spec
from types import TracebackType

ANY_PACKAGE = "pydantic"  # stands for all that `make setup` installs


def check_installation() -> None:
    """End the process with one line that says what to do, if the project cannot run here.

    From then on, Ctrl-C ends it with one line too, also while modules are imported.
    """
    sys.excepthook = _tell_briefly
    if sys.platform == "win32":
        sys.exit("error: Windows has no fork, no file locks and no process groups as they are used here: work in WSL")
    if sys.version_info < (3, 11):  # noqa: UP036 (an older Python may run this)
        sys.exit(f"error: Python must be 3.11 or newer, got {sys.version.split()[0]}")
    if find_spec(ANY_PACKAGE) is None:
        sys.exit(
            f"error: {sys.executable} has no {ANY_PACKAGE}: in the folder of the project, "
            "run `make setup`, then `source .venv/bin/activate`"
        )


def _tell_briefly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
