"""What all tests share: types and shapes checked at run time, one thread, and one run of the micro pipeline."""

import os
import shutil
import sys

import pytest
from filelock import FileLock
from hypothesis import settings
from jaxtyping import install_import_hook

from tests.typecheck import checked
from tests.workspace import Workspace

# Before anything of ours is imported, or the hook would miss it.
install_import_hook("lm", f"{checked.__module__}.{checked.__name__}")

# The models of the tests are so small that threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Or each worker, and each process that a test starts, would compile the same files again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A machine may be busy with other work, so how long an example takes says nothing.
settings.register_profile("storyline", deadline=None, max_examples=60)
settings.load_profile("storyline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that hold slow tests, because one that is begun last lets the other workers wait."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose pipeline has run and is committed. All tests share it: copy it, and change the copy."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    path, done = shared / "micro", shared / "micro.done"
    with FileLock(shared / "micro.lock"):
        if done.exists():  # another process has made it
            return Workspace(path)
        shutil.rmtree(path, ignore_errors=True)  # what is left where that failed
        workspace = Workspace(path)
        workspace.run("dvc", "repro")
        workspace.commit()
        done.touch()
        return workspace
