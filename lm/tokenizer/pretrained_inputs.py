"""What a run reads of a pretrained tokenizer. This module imports little: every run needs it."""

from pathlib import Path

from lm.system.files import sha256
from lm.tokenizer.hub import download, is_repository
from lm.tokenizer.pretrained_files import pretrained_files


def list_pretrained(source: str | None, root: Path) -> list[dict[str, str]]:
    """Name and SHA-256 of each file of a source, also of one on the hub, which is fetched.

    Runs are compared by this list, so it names no folder of this machine.

    Raises:
        ValueError: as `pretrained_files`, and when a repository of the hub holds no tokenizer.
        ConnectionError: when a repository could not be fetched.
    """
    paths = pretrained_files(source, root) if source else []
    if source and not paths and is_repository(source):
        paths = download(source)
    return [{"name": path.name, "sha256": sha256(path)} for path in paths]
