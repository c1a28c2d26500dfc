"""Our code as it was when the stage started.

Python runs the `__init__.py` of this package before any other file of a stage, and that imports this module first. So
`CODE` holds what all imports find, early and late ones, unless somebody edits a file meanwhile; `stages.watch` sees it.
"""

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The SHA-256 of each file.
CODE = {
    path: hashlib.sha256(path.read_bytes()).hexdigest()
    for package in ("lm", "stages")
    for path in sorted((ROOT / package).rglob("*.py"))
}
