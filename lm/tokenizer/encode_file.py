"""From a file of documents to a file of tokens, as a stream and on several cores."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lm.corpus.text_file import BOUNDARY, Block, blocks
from lm.formats.tokens import TokenCard, TokenWriter
from lm.system.processes import map_in_order, n_processes_for
from lm.tokenizer.encoder import Ids
from lm.tokenizer.tokenizer import Tokenizer


class _Encoded(NamedTuple):
    ids: Ids
    n_documents: int
    n_bytes: int  # of the texts, without separators


class _BlockEncoder:
    """Reads and encodes blocks. It can be sent to another process."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, block: Block) -> _Encoded:
        text = block.read()
        n_documents = text.count(BOUNDARY)
        return _Encoded(self._tokenizer.encode_block(text), n_documents, len(text) - n_documents)


def encode_file(
    tokenizer: Tokenizer,
    text: Path,
    tokens: Path,
    card: Path,
    progress: Callable[[int], object] = lambda n_bytes: None,
    n_processes: int | None = None,
) -> TokenCard:
    """Write the documents of a corpus file to `tokens`, and its card; memory does not grow with the file.

    `progress` is called with the number of bytes of text that each step has added. If
    `n_processes` is None, the number follows from the size of the file.

    Raises:
        ValueError: when the file is not UTF-8, or its last document has no separator line.
    """
    if n_processes is None:
        n_processes = n_processes_for(text.stat().st_size)
    with TokenWriter(
        tokens, card, vocab_size=tokenizer.vocab_size, end_id=tokenizer.end_id, tokenizer_sha256=tokenizer.sha256
    ) as writer:
        encoder = _BlockEncoder(tokenizer)
        for encoded in map_in_order(encoder, blocks(text, tokenizer.last_cut), n_processes):
            writer.write(*encoded)
            progress(encoded.n_bytes)
    return writer.card
