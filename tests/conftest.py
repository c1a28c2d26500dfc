"""What all tests share: types and shapes checked at run time, and one thread."""

import os

from hypothesis import settings
from jaxtyping import install_import_hook

from tests.typecheck import checked

# Before anything of ours is imported, or the hook would miss it.
install_import_hook("lm", f"{checked.__module__}.{checked.__name__}")

# The models of the tests are so small that threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A machine may be busy with other work, so how long an example takes says nothing.
settings.register_profile("storyline", deadline=None)
settings.load_profile("storyline")
