"""What the tests of the corpus share."""

from typing import Any

from lm.config.data import DataConfig
from lm.corpus.document import Corpus, Split

DEFAULTS: dict[str, Any] = {
    "source": "files",
    "n_stories": 1,
    "n_valid_stories": 1,
    "train": ["train.txt"],
    "valid": [],
    "text_column": "text",
    "separator": "<|endoftext|>",
    "dataset": "tinystories",
    "revision": None,
    "valid_fraction": 0.5,
    "max_documents": None,
    "max_bytes": None,
}


def data_config(**changes: Any) -> DataConfig:
    """A valid data section with some parameters changed."""
    return DataConfig.parse(DEFAULTS | changes)


def texts_of(corpus: Corpus) -> dict[Split, list[str]]:
    """All texts of a corpus by split, in order."""
    texts: dict[Split, list[str]] = {"train": [], "valid": []}
    for document in corpus.documents:
        texts[document.split].append(document.text)
    return texts
