"""What a run reads of pretrained tokenizers. This module imports little: every run needs it."""

from collections.abc import Sequence
from pathlib import Path

from lm.system.files import sha256
from lm.tokenizer.hub import download, is_repository
from lm.tokenizer.pretrained_files import PRETRAINED, check_encoding, pretrained_files


def list_pretrained(sources: Sequence[str], root: Path, place: str = PRETRAINED) -> list[dict[str, str]]:
    """Name and SHA-256 of each file of the sources, also of those on the hub, which are fetched.

    Runs are compared by this list, so it names no folder of this machine.

    Raises:
        ValueError: as `pretrained_files` and `check_encoding`, and when a repository of the hub holds no tokenizer.
        ConnectionError: when a repository could not be fetched.
    """
    found = []
    for source in sources:
        paths = pretrained_files(source, root, place)
        if not paths and is_repository(source):
            paths = download(source, place)
        elif not paths:
            check_encoding(source, place)
        found += [{"name": path.name, "sha256": sha256(path)} for path in paths]
    return found


def check_listed(sources: Sequence[str], root: Path, listed: list[dict[str, str]], place: str = PRETRAINED) -> None:
    """Raise ValueError when the files are no longer those that `list_pretrained` gave earlier."""
    if list_pretrained(sources, root, place) != listed:
        raise ValueError(f"{place}: the files must not change after stage `inputs` has listed them; run it again")
