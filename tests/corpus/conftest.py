"""What the tests of the corpus share."""

import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.config.data import DataConfig
from lm.corpus.document import SEPARATOR, Corpus, Split
from tests.corpus.hub_server import Hub, serve

LARGE_TEXT = random.Random(0).randbytes(10_000).hex()  # 20 kB

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
    "configuration": None,
    "train_split": "train",
    "valid_split": None,
    "null_rows": "fail",
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


@pytest.fixture
def delays_s() -> list[float]:
    """The pauses that were asked for; none is made."""
    return []


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delays_s: list[float]) -> Iterator[Hub]:
    """A hub that HF_ENDPOINT points to, with an empty cache."""
    import huggingface_hub.constants

    from lm.corpus.hub_dataset import library  # imported here, because it takes a second

    datasets = library()
    with serve() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path))  # for subprocesses; this process has read it already
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.endpoint)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
        monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", tmp_path / "datasets/downloads")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(huggingface_hub.constants, "AGENT_HARNESSES_PATH", str(tmp_path / "agents"))
        monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_DATASETS_CACHE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        huggingface_hub.close_session()  # with the proxies and connections of others
        monkeypatch.setattr(time, "sleep", delays_s.append)
        yield hub


def parquet(texts: Sequence[str | None], column: str = "text") -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({column: pa.array(texts, pa.string())}), buffer, compression="none")
    data: bytes = buffer.getvalue().to_pybytes()
    return data


def text_file(texts: Sequence[str | None]) -> bytes:
    return "".join(f"{text}\n{SEPARATOR}\n" for text in texts).encode()


def jsonl(texts: Sequence[str | None]) -> bytes:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def documents(dataset: str, **changes: Any) -> dict[Split, list[str]]:
    """All texts of a dataset of the hub by split, in order."""
    from lm.corpus.hub import open_hub  # imported here, because the client of the hub takes long

    return texts_of(open_hub(data_config(source="hub", dataset=dataset, **changes)))
