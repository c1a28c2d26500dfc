"""The files on this machine that hold a pretrained tokenizer. This module imports little: every run needs it."""

from pathlib import Path

from lm.config.outside import resolve

LAYOUTS = (["tokenizer.json"], ["merges.txt", "vocab.json"])  # files of a tokenizer; the first layout found counts


def pretrained_files(source: str, root: Path) -> list[Path]:
    """The files on this machine that a source names, sorted; none when it names no path.

    Raises:
        ValueError: when it names a folder that holds no tokenizer.
    """
    try:
        path = resolve(source, root)
        if not path.exists():
            return []
    except (RuntimeError, OSError, ValueError):  # an unknown user's home, too long a name, a zero byte
        return []
    if not path.is_dir():
        return [path]
    for names in LAYOUTS:
        if all((path / name).is_file() for name in names):
            return [path / name for name in names]
    raise ValueError(holds_none(str(path)))


def holds_none(source: str) -> str:
    layouts = ", or ".join(" and ".join(names) for names in LAYOUTS)
    return f"tokenizer.pretrained: must hold {layouts}, got {source!r}"
