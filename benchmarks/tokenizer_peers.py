"""One measurement of `benchmarks.tokenizer`: a tokenizer trained, or a file encoded, by one of several libraries.

    python -m benchmarks.tokenizer_peers train ENGINE TEXT OUT
    python -m benchmarks.tokenizer_peers encode ENGINE TEXT OUT TOKENIZER PROCESSES

prints one line of JSON: the seconds it took, and a hash of what it wrote.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lm.config.special_tokens import END_OF_TEXT
from lm.config.tokenizer import TokenizerConfig
from lm.corpus.text_file import BOUNDARY, Block, blocks
from lm.system.memory import keep_freed_memory
from lm.system.processes import map_in_order, n_processes_for
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.counting import count_file
from lm.tokenizer.encode_file import encode_file
from lm.tokenizer.learning import learn_bpe
from lm.tokenizer.load import load_tokenizer
from lm.tokenizer.splitting import PATTERN, last_cut

VOCAB_SIZE = 10_000


def documents(text: Path) -> Iterator[str]:
    """The documents of a corpus file, read in blocks."""
    for block in blocks(text, last_cut):
        yield from documents_of(block)


def documents_of(block: Block) -> list[str]:
    """The documents of a block."""
    return [document.decode() for document in block.read().split(BOUNDARY)[:-1]]


def train_storyline(text: Path, out: Path) -> None:
    """Our trainer, on all cores, as the tokenizer stage uses it."""
    keep_freed_memory()
    config = TokenizerConfig(
        kind="bpe",
        trainer="storyline",
        vocab_size=VOCAB_SIZE,
        min_frequency=1,
        ties="huggingface",
        special_tokens=[],
        pretrained=None,
    )
    learn_bpe(count_file(text, n_processes_for(text.stat().st_size)), config).save(out)


def train_huggingface(text: Path, out: Path) -> None:
    """Hugging Face `tokenizers`, on all cores."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents(text), trainer)
    out.write_text(tokenizer.to_str(pretty=True))


def train_rustbpe(text: Path, out: Path) -> None:
    """nanochat's trainer, on all cores."""
    import rustbpe

    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(documents(text), VOCAB_SIZE - 1, pattern=PATTERN)
    out.write_text(repr(tokenizer.get_mergeable_ranks()))


def train_sentencepiece(text: Path, out: Path) -> None:
    """SentencePiece's BPE, on all cores. It cuts words in its own way."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(out),
        vocab_size=VOCAB_SIZE,
        model_type="bpe",
        num_threads=os.cpu_count(),
        byte_fallback=True,
        max_sentence_length=2**24,
        minloglevel=2,
    )
    out.write_bytes(Path(f"{out}.vocab").read_bytes())


def encode_storyline(text: Path, out: Path, tokenizer: Path, n_processes: int) -> None:
    """Our encoder, as the encode stage uses it."""
    keep_freed_memory()
    encode_file(load_tokenizer(tokenizer), text, out, out.with_suffix(".json"), n_processes=n_processes)


class Tiktoken:
    """Encodes a block with tiktoken, in any process that it is sent to."""

    def __init__(self, tokenizer: Path) -> None:
        self._path = tokenizer
        self._encode: Callable[[str], NDArray[np.uint32]] | None = None

    def __call__(self, block: Block) -> NDArray[np.uint16]:
        """The ids of its documents, each followed by the end of text."""
        if self._encode is None:
            tokenizer = load_tokenizer(self._path)
            assert isinstance(tokenizer, BpeTokenizer)
            encoding = tokenizer.to_tiktoken()
            self._encode = lambda document: encoding.encode_to_numpy(document, disallowed_special=())
            self._end = np.array([tokenizer.end_id], dtype=np.uint32)
        parts = [part for document in documents_of(block) for part in (self._encode(document), self._end)]
        return np.concatenate(parts).astype(np.uint16)


def encode_tiktoken(text: Path, out: Path, tokenizer: Path, n_processes: int) -> None:
    """OpenAI's `tiktoken`. Our code reads the files and starts the processes."""
    with out.open("wb") as file:
        for ids in map_in_order(Tiktoken(tokenizer), blocks(text, last_cut), n_processes):
            file.write(ids.tobytes())


def encode_huggingface(text: Path, out: Path, tokenizer: Path, n_processes: int) -> None:
    """Hugging Face `tokenizers` with its own threads, a block of documents at a time."""
    os.environ["RAYON_NUM_THREADS"] = str(n_processes)
    import tokenizers

    library = tokenizers.Tokenizer.from_file(str(tokenizer))
    library.encode_special_tokens = True
    end_id = library.token_to_id(END_OF_TEXT)
    with out.open("wb") as file:
        for block in blocks(text, last_cut):
            encodings = library.encode_batch_fast(documents_of(block))
            file.write(np.array([id for e in encodings for id in (*e.ids, end_id)], dtype=np.uint16).tobytes())


def encode_nanogpt(text: Path, out: Path, tokenizer: Path, n_processes: int) -> None:
    """As nanoGPT's prepare.py does it: `datasets.map` over documents with tiktoken, then one array on disk."""
    import datasets

    loaded = load_tokenizer(tokenizer)
    assert isinstance(loaded, BpeTokenizer)
    encoding, end_id = loaded.to_tiktoken(), loaded.end_id

    def encode(example: dict[str, str]) -> dict[str, object]:
        ids = [*encoding.encode_ordinary(example["text"]), end_id]
        return {"ids": ids, "len": len(ids)}

    datasets.disable_progress_bars()
    datasets.config.HF_DATASETS_CACHE = out.parent / "datasets"
    dataset = datasets.Dataset.from_dict({"text": list(documents(text))})
    dataset = dataset.map(encode, remove_columns=["text"], num_proc=n_processes)
    array = np.memmap(out, dtype=np.uint16, mode="w+", shape=(int(np.sum(dataset["len"], dtype=np.int64)),))
    at, n_shards = 0, min(1024, len(dataset))
    for i in range(n_shards):
        shard = dataset.shard(num_shards=n_shards, index=i, contiguous=True).with_format("numpy")
        ids = np.concatenate(shard["ids"])
        array[at : at + len(ids)] = ids
        at += len(ids)
    array.flush()


TRAINERS = {
    "storyline": train_storyline,
    "Hugging Face tokenizers": train_huggingface,
    "rustbpe": train_rustbpe,
    "SentencePiece": train_sentencepiece,
}
ENCODERS = {
    "storyline": encode_storyline,
    "tiktoken": encode_tiktoken,
    "Hugging Face tokenizers": encode_huggingface,
    "nanoGPT's datasets.map": encode_nanogpt,
}


def main() -> None:
    """Do what the command line says."""
    task, engine, text, out, *rest = sys.argv[1:]
    start = time.perf_counter()
    if task == "train":
        TRAINERS[engine](Path(text), Path(out))
    else:
        ENCODERS[engine](Path(text), Path(out), Path(rest[0]), int(rest[1]))
    seconds = time.perf_counter() - start
    with Path(out).open("rb") as file:
        result = hashlib.file_digest(file, "sha256").hexdigest()
    print(json.dumps({"seconds": seconds, "result": result}))


if __name__ == "__main__":
    from benchmarks import tokenizer_peers  # whose classes other processes can import, unlike those of a main module

    tokenizer_peers.main()
