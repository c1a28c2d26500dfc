"""What is looked at: a model and its tokenizer, and the topics of the page for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lm.analysis.inside.model_views import model_views
from lm.analysis.inside.reading import read
from lm.analysis.inside.text_views import patch_views
from lm.analysis.views import Topic
from lm.formats.model_file import check_same_tokenizer
from lm.formats.model_folder import model_files
from lm.model.load import load_model
from lm.model.transformer import Transformer
from lm.tokenizer.load import load_tokenizer
from lm.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Subject:
    """A model to look into, by the name that the user gave it."""

    name: str
    model: Transformer
    tokenizer: Tokenizer


def load(path: Path, tokenizer_path: Path | None) -> Subject:
    """The model in a folder or a file, on the CPU and in float32, because its hooks need its own modules.

    Raises:
        ValueError: when something is missing or does not fit, in one line.
    """
    model_path, tokenizer_path = model_files(path, tokenizer_path)
    model, card = load_model(model_path)
    tokenizer = load_tokenizer(tokenizer_path)
    check_same_tokenizer(str(tokenizer_path), tokenizer.sha256, str(model_path), card.tokenizer_sha256)
    return Subject(str(path), model, tokenizer)


def topics(
    subject: Subject, text: str, *, key: str, patch: str | None, texts: Path | None, seed: int, special: bool
) -> list[Topic]:
    """The topics of the page: the model, and, where another text is given, what its values bring along.

    `key` begins their names, which are the places that links on the page lead to.

    Raises:
        ValueError: when the other text has another number of tokens, or the file of texts cannot be read.
    """
    model, tokenizer = subject.model, subject.tokenizer
    found = []
    if patch is not None:
        most = model.config.context_length
        own, other = (read(tokenizer, t, most, allow_special=special) for t in (text, patch))
        try:
            views = patch_views(model, tokenizer, own, other)
        except ValueError as error:
            raise ValueError(f"--patch: {error}") from None
        notes = [f"The other text: {patch}"] + ([] if views else ["The model predicts the same after both."])
        found.append(Topic(f"{key}-patch", f"{subject.name}: the other text", views, notes))
    documents = [] if texts is None else read_documents(texts, tokenizer)
    views = model_views(model, tokenizer, text, documents, seed, allow_special=special)
    return [Topic(key, subject.name, views), *found]


def read_documents(path: Path, tokenizer: Tokenizer) -> list[np.ndarray]:
    """The ids of the documents in a file, one a line, each with its end token.

    Raises:
        ValueError: when the file cannot be read, or holds none.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise ValueError(f"--texts: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"--texts: {path}: must be UTF-8") from None
    if not lines:
        raise ValueError(f"--texts: {path}: must hold a document, got none")
    return [np.array([*ids, tokenizer.end_id]) for ids in tokenizer.encode_batch(lines)]
