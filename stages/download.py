"""Get the corpus: generate the built-in stories, read local files, or download from the Hugging Face hub.

Both splits become text files in which a line `<|endoftext|>` follows each document. The card beside them says how many
documents and bytes each has, and where they come from.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import get_args

from tqdm import tqdm

from lm.config.data import DataConfig
from lm.corpus.document import Split
from lm.corpus.files import list_inputs
from lm.corpus.sources import open_corpus
from lm.corpus.splits import END_OF_THE_TEXT
from lm.corpus.text_file import DocumentWriter
from lm.system.files import read_json, replacing, write_json
from stages.pipeline import written_paths
from stages.support import Stage, repository_root, run


def main(stage: Stage) -> None:
    """Write both splits in one pass over the source."""
    config = stage.section(DataConfig)
    root = repository_root()
    written = written_paths(root)
    listed = read_json(stage.path("data_inputs"))
    corpus = open_corpus(config, stage.seed(), root, written, listed)
    with ExitStack() as files, tqdm(desc="download", unit=" documents", disable=None) as bar:
        writers = {
            split: DocumentWriter(files.enter_context(replacing(stage.path(split)))) for split in get_args(Split)
        }
        for document in corpus.documents:
            writers[document.split].write(document)
            bar.update()
        if config.source == "files" and list_inputs(config, root, written) != listed:
            raise ValueError("data: the files must not change after stage `inputs` has listed them; run it again")
    for line in _notes(corpus.facts, writers["valid"].n_documents):
        print(line, file=sys.stderr)
    counts = {split: {"n_documents": w.n_documents, "n_bytes": w.n_bytes} for split, w in writers.items()}
    floor = {"valid_floor_bits_per_byte": writers["valid"].bits_per_byte}
    write_json(stage.path("card"), {"source": config.source, **corpus.facts, **counts, **floor})
    write_json(stage.path("floor"), writers["valid"].bits)


def _notes(facts: dict[str, object], n_valid: int) -> Iterator[str]:
    """Lines for the user about the validation text, where it is not what one might expect."""
    if n_both := facts.get("n_valid_documents_in_train"):
        yield f"warning: {n_both} of {n_valid} validation documents are in the training text too"
    if facts.get("validation") == END_OF_THE_TEXT:
        yield "note: the documents are too few to hold some out, so the last part of the text is held out"


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={"data_inputs": "the files, or the commit of a dataset, that stage `inputs` has listed"},
        outs={
            "train": "text file of the training documents",
            "valid": "text file of the validation documents",
            "card": "JSON: source, counts, and the entropy floor of the validation text where it is known",
            "floor": "JSON list: bits of surprise of each validation document, or null if they are not known",
        },
    )
