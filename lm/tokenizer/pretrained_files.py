"""The files on this machine that hold a pretrained tokenizer. This module imports little: every run needs it."""

from pathlib import Path

from lm.config.outside import resolve

LAYOUTS = (["tokenizer.json"], ["merges.txt", "vocab.json"])  # files of a tokenizer; the first layout found counts
PRETRAINED = "tokenizer.pretrained"  # the parameter that names the tokenizer of the model


def pretrained_files(source: str, root: Path, place: str = PRETRAINED) -> list[Path]:
    """The files on this machine that a source names, sorted; none when it names no path. `place` is for errors.

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
    raise ValueError(holds_none(str(path), place))


def check_encoding(source: str, place: str) -> None:
    """Raise ValueError for a source that is no path, no repository and no encoding of tiktoken."""
    from tiktoken import list_encoding_names  # imported here, because most runs do not need it

    if source not in list_encoding_names():
        raise ValueError(
            f"{place}: must be the path of a tokenizer.json or of a folder with it, or with vocab.json and merges.txt, "
            f"one of tiktoken's encodings ({', '.join(list_encoding_names())}), or a repository of the Hugging Face "
            f"hub as 'owner/name', got {source!r}"
        )


def holds_none(source: str, place: str) -> str:
    layouts = ", or ".join(" and ".join(names) for names in LAYOUTS)
    return f"{place}: must hold {layouts}, got {source!r}"
