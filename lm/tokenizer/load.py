"""The tokenizer in a tokenizer.json, whatever its kind."""

from pathlib import Path

from lm.tokenizer.bpe import BpeTokenizer
from lm.tokenizer.characters import CharacterTokenizer
from lm.tokenizer.definition import is_bpe, is_characters, read, read_special_tokens
from lm.tokenizer.library import LibraryTokenizer, open_library
from lm.tokenizer.tokenizer import Tokenizer


def parse_tokenizer(definition: str) -> Tokenizer:
    """The tokenizer that the text of a tokenizer.json describes: one of ours if possible, else the library's.

    Raises:
        ValueError: when it describes no tokenizer, or a tokenizer without `<|endoftext|>`.
    """
    values = read(definition)
    library = open_library(values, definition)  # it knows everything that the format allows
    if "" in read_special_tokens(values):
        raise ValueError("added_tokens: must not be empty, got ''")
    added = {token.content: id for id, token in library.get_added_tokens_decoder().items()}
    kind: type[Tokenizer] = LibraryTokenizer
    if read_special_tokens(values) == added:  # the library changes ids if those of the file have gaps
        if is_bpe(values):
            kind = BpeTokenizer
        elif is_characters(values):
            kind = CharacterTokenizer
    return kind.read(values, definition)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json; errors name the file."""
    try:
        return parse_tokenizer(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
