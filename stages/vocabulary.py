"""Show what the tokenizer has learned, and how it splits the corpus: a page of text, and three curves.

The page holds merges in the order they were learned, the longest tokens, and how two documents split. The curves are
the frequency of tokens by rank, compression by vocabulary size, and the lengths of documents.
"""

from itertools import islice

import numpy as np

from lm.analysis.pictures import plot_compression, plot_document_lengths, plot_token_frequency
from lm.corpus.text_file import read_documents
from lm.formats.columns import write_columns
from lm.formats.tokens import TokenFile
from lm.system.files import replacing
from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.counting import count_file
from lm.tokenizer.inspection import (
    compression,
    length_histogram,
    longest_tokens,
    show_lines,
    show_merges,
    show_token,
    token_frequencies,
)
from lm.tokenizer.load import load_tokenizer
from lm.tokenizer.tokenizer import Tokenizer
from stages.support import Stage, run

_SHOWN = 40  # merges, and tokens
_SHOWN_CHARACTERS = 400  # of a document


def main(stage: Stage) -> None:
    """Write page, curves and pictures."""
    tokenizer = load_tokenizer(stage.path("tokenizer"))
    tokens = TokenFile(stage.path("tokens"), stage.path("card"))
    text = stage.path("text")

    counts = np.bincount(tokens.ids, minlength=tokenizer.vocab_size)
    counts[tokens.card.end_id] = 0
    frequency = token_frequencies(counts)
    if isinstance(tokenizer, BpeTokenizer):
        sizes = compression(tokenizer, count_file(text, n_processes=1))
    else:  # such a tokenizer has no smaller sizes
        n_tokens = tokens.card.n_tokens - tokens.card.n_documents
        bytes_per_token = tokens.card.n_bytes / n_tokens
        sizes = {"vocab_size": np.array([tokenizer.vocab_size]), "bytes_per_token": np.array([bytes_per_token])}
    lengths = length_histogram(np.array([len(document) for document in tokens.documents()]))

    for name, curve in (("frequency", frequency), ("compression", sizes), ("lengths", lengths)):
        write_columns(stage.path(f"{name}_curve"), curve)
    plot_token_frequency(frequency, stage.path("frequency"))
    plot_compression(sizes, stage.path("compression"))
    plot_document_lengths(lengths, stage.path("lengths"))
    documents = [document[:_SHOWN_CHARACTERS] for document in islice(read_documents(text), 2)]
    with replacing(stage.path("page")) as file:
        file.write("\n".join(_page(tokenizer, documents)).encode())


def _page(tokenizer: Tokenizer, documents: list[str]) -> list[str]:
    """The lines of the page."""
    lines = ["# Tokenizer", "", f"{tokenizer.vocab_size} tokens, among them {' '.join(tokenizer.special_tokens)}.", ""]
    if isinstance(tokenizer, BpeTokenizer) and tokenizer.merges.pairs:
        n_merges = len(tokenizer.merges.pairs)
        lines += [f"## The first and the last of {n_merges} merges", "", "```"]
        lines += show_merges(tokenizer, 0, _SHOWN)
        lines += ["…", *show_merges(tokenizer, max(_SHOWN, n_merges - _SHOWN // 2), n_merges), "```", ""]
    lines += ["## The longest tokens", "", "```"]
    lines += [show_token(tokenizer, id) for id in longest_tokens(tokenizer, _SHOWN)]
    lines += ["```", "", "## How documents split", ""]
    for document in documents:
        lines += ["```", *show_lines(tokenizer, document), "```", ""]
    return lines


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "tokenizer": "the tokenizer.json",
            "text": "text file of documents",
            "tokens": "token file of the same documents",
            "card": "its card",
        },
        outs={
            "page": "Markdown: merges, long tokens, and how documents split",
            "frequency_curve": "CSV: share of all tokens by rank",
            "compression_curve": "CSV: bytes per token by vocabulary size",
            "lengths_curve": "CSV: documents by number of tokens",
            "frequency": "PNG: the frequency curve",
            "compression": "PNG: the compression curve",
            "lengths": "PNG: the curve of lengths",
        },
    )
