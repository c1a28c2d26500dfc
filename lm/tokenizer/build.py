"""The tokenizer that the parameters ask for."""

from collections.abc import Callable, Iterator
from pathlib import Path

from lm.config.tokenizer import TokenizerConfig
from lm.corpus.text_file import BOUNDARY, blocks
from lm.system.processes import n_processes_for
from lm.tokenizer.counting import count_file
from lm.tokenizer.learning import bytes_alone, learn_bpe, learn_bpe_with_library, learn_characters
from lm.tokenizer.pretrained import open_pretrained
from lm.tokenizer.splitting import last_cut
from lm.tokenizer.tokenizer import Tokenizer

Progress = Callable[[int], object]


def build_tokenizer(
    config: TokenizerConfig, text: Path, root: Path, *, reading: Progress, learning: Progress
) -> Tokenizer:
    """The tokenizer that the parameters describe. If it must be learned, it learns from the corpus file `text`.

    `root` is the folder that relative paths in the parameters start at. `reading` is called with the number of bytes of
    text that each step has read, `learning` with the number of tokens learned.
    """
    if config.pretrained is not None:
        return open_pretrained(config.pretrained, config.all_special_tokens, root)
    if config.kind == "byte":
        return bytes_alone(config)
    if config.kind == "bpe" and config.trainer == "huggingface":
        return learn_bpe_with_library(_documents(text, reading), config)
    words = count_file(text, n_processes_for(text.stat().st_size), reading)
    return learn_characters(words, config) if config.kind == "char" else learn_bpe(words, config, learning)


def _documents(text: Path, reading: Progress) -> Iterator[str]:
    for block in blocks(text, last_cut):
        for document in block.read().split(BOUNDARY):
            yield document.decode()
        reading(block.end - block.start)
