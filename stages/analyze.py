"""Look inside: the text, the tokenizer, the model, what it learned when, what it writes, how the chat model answers.

Each topic becomes a JSON file of views, and all of them one page that opens without a network.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lm.analysis.chat_views import chat_views
from lm.analysis.corpus.sample import CorpusSample, read_sample
from lm.analysis.corpus.views import text_views
from lm.analysis.inside.model_views import model_views
from lm.analysis.inside.reading import batch_of
from lm.analysis.inside.repeats import Repeats, draw_repeats
from lm.analysis.page import write_page
from lm.analysis.stories.measures import story_measures
from lm.analysis.stories.views import story_views
from lm.analysis.stories.write import Beside, first_part, write_stories
from lm.analysis.through_training import Stand, plot_learning, stand, training_views
from lm.analysis.token_kinds import token_kinds
from lm.analysis.tokenizers.views import tokenizer_views
from lm.analysis.views import Topic, as_json
from lm.config.analyze import AnalyzeConfig
from lm.config.data import DataConfig
from lm.config.model import ModelConfig
from lm.config.special_tokens import END_OF_TEXT
from lm.corpus.dialogue import read_dialogues
from lm.formats.model_file import ModelCard, check_same_tokenizer
from lm.formats.model_folder import snapshot_files
from lm.formats.tokens import TokenFile
from lm.model.load import load_model, load_reader
from lm.model.transformer import Transformer
from lm.system.files import read_json, write_json
from lm.tokenizer.load import load_tokenizer
from lm.tokenizer.pretrained import open_pretrained
from lm.tokenizer.pretrained_inputs import check_listed
from lm.tokenizer.tokenizer import Tokenizer
from stages.support import Stage, repository_root, run

_REPEATS = 8  # texts of random tokens, on which heads are measured through training
_TRAIN_BYTES, _VALID_BYTES = 32_000_000, 4_000_000  # of a large corpus, a part is looked at
_OTHERS = "analyze.other_tokenizers"
_TOKENIZED = 100  # documents on which tokenizers are compared
_ABOUT = "Made by dvc repro analyze. Hover, tap, or use Tab and the arrow keys: every view says its numbers."
_LEARNING = "The loss of each kind of token by step, and the best head for each task."


def main(stage: Stage) -> None:
    """Write the views of each topic, the pictures and the page."""
    config, seed = stage.section(AnalyzeConfig), stage.seed()
    sample = read_sample(
        stage.path("train_text"),
        stage.path("valid_text"),
        max_train_bytes=_TRAIN_BYTES,
        max_valid_bytes=_VALID_BYTES,
    )
    train = TokenFile(stage.path("train_tokens"), stage.path("train_card"))
    makers: dict[str, Callable[[], Topic]] = {
        "text": lambda: text_views(sample, np.diff(train.ends(), prepend=-1)),
        "tokenizer": lambda: _tokenizer(stage, config, sample, train),
        "model": lambda: _model(stage, config, seed),
        "training": lambda: _training(stage, config, seed),
        "stories": lambda: _stories(stage, config, sample, seed),
        "chat": lambda: _chat(stage),
    }
    topics: dict[str, Topic] = {}
    with tqdm(makers.items(), unit=" topics", disable=None) as bar:
        for name, make in bar:
            bar.set_description(f"analyze {name}")
            topics[name] = make()
            write_json(stage.path(f"{name}_views"), as_json(topics[name]))
    pictures = {"training": [(stage.path("learning"), _LEARNING)]} if topics["training"].views else {}
    write_page(stage.path("page"), "storyline: looking inside", [*topics.values()], about=_ABOUT, pictures=pictures)


def _tokenizer(stage: Stage, config: AnalyzeConfig, sample: CorpusSample, train: TokenFile) -> Topic:
    tokenizer = load_tokenizer(stage.path("tokenizer"))
    check_same_tokenizer(str(stage.path("tokenizer")), tokenizer.sha256, str(train.path), train.card.tokenizer_sha256)
    counts = np.bincount(train.ids, minlength=tokenizer.vocab_size)
    return tokenizer_views(tokenizer, counts, sample.valid[:_TOKENIZED], _others(stage, config.other_tokenizers))


def _others(stage: Stage, sources: Sequence[str]) -> dict[str, Tokenizer]:
    """The tokenizers to compare with, which are those that stage `inputs` has seen."""
    root = repository_root()
    others = {source: open_pretrained(source, [END_OF_TEXT], root, place=_OTHERS, to_train=False) for source in sources}
    check_listed(sources, root, read_json(stage.path("other_tokenizers")), _OTHERS)
    return others


def _stories(stage: Stage, config: AnalyzeConfig, sample: CorpusSample, seed: int) -> Topic:
    """What the model writes from nothing, beside the text, and its figures."""
    tokenizer = load_tokenizer(stage.path("tokenizer"))
    model, card = load_reader(stage.path("model"))
    most = model.config.context_length - 1
    with tqdm(desc="write", unit=" tokens", disable=None) as bar:
        stories = write_stories(
            model,
            tokenizer,
            n_stories=config.n_stories,
            max_new_tokens=most,
            temperature=1.0,
            end_id=card.end_id,
            seed=seed,
            progress=bar.update,
        )
    beside = Beside(stories, sample, lambda text: first_part(tokenizer, text, most))
    measures = story_measures(beside, built_in=stage.section(DataConfig, "source").source == "stories")
    write_json(stage.path("story_metrics"), measures)
    return story_views(beside, measures)


def _model(stage: Stage, config: AnalyzeConfig, seed: int) -> Topic:
    tokenizer, (model, _) = _load(stage, "tokenizer", stage.path("model"))
    documents = TokenFile(stage.path("tokens"), stage.path("card")).documents()[: config.n_documents]
    return Topic("model", "Model", model_views(model, tokenizer, config.text, documents, seed))


def _training(stage: Stage, config: AnalyzeConfig, seed: int) -> Topic:
    """The stands of all snapshots and of the trained model, as views and as a picture."""
    files = snapshot_files(stage.path("snapshots"))
    kept = read_json(stage.path("metrics"))["kept_step"]
    files = {step: path for step, path in files.items() if step < kept} | {kept: stage.path("model")}
    documents = TokenFile(stage.path("tokens"), stage.path("card")).documents()[: config.n_documents]
    tokenizer, (trained, _) = _load(stage, "tokenizer", stage.path("model"))
    texts = batch_of(documents, tokenizer.end_id, trained.config.context_length)
    kinds = [token_kinds(tokenizer, row) for row in texts.targets]
    repeats = _repeats(trained.config, tokenizer, seed)
    stands: list[Stand] = []
    for step, path in tqdm(files.items(), desc="snapshots", unit=" models", disable=None):
        _, (model, _) = _load(stage, "tokenizer", path)
        stands.append(stand(model, step, texts, kinds, repeats))
    plot_learning(stands, stage.path("learning"))
    return training_views(stands)


def _repeats(config: ModelConfig, tokenizer: Tokenizer, seed: int) -> Repeats | None:
    """Random tokens that are said twice; None where the context is too short for that."""
    try:
        return draw_repeats(config, tokenizer, _REPEATS, seed)
    except ValueError:
        return None


def _chat(stage: Stage) -> Topic:
    tokenizer, (model, _) = _load(stage, "chat_tokenizer", stage.path("chat_model"))
    return chat_views(model, tokenizer, list(read_dialogues(stage.path("dialogues"))), read_json(stage.path("figures")))


def _load(stage: Stage, name: str, path: Path) -> tuple[Tokenizer, tuple[Transformer, ModelCard]]:
    """The tokenizer under that flag, and a model that was trained with it."""
    tokenizer, (model, card) = load_tokenizer(stage.path(name)), load_model(path)
    check_same_tokenizer(str(stage.path(name)), tokenizer.sha256, str(path), card.tokenizer_sha256)
    return tokenizer, (model, card)


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={
            "model": "the trained model",
            "tokenizer": "its tokenizer.json",
            "other_tokenizers": "the list of files of other tokenizers that stage `inputs` has written",
            "snapshots": "the folder of its weights after some steps",
            "metrics": "JSON: the figures of its training",
            "train_text": "the training text",
            "valid_text": "the validation text",
            "train_tokens": "token file of the training text",
            "train_card": "its card",
            "tokens": "token file of the validation text",
            "card": "its card",
            "chat_model": "the chat model",
            "chat_tokenizer": "its tokenizer.json",
            "figures": "JSON: the figures of both models' answers",
            "dialogues": "JSON lines: the validation dialogues",
        },
        outs={
            "page": "HTML: all views, without anything from a network",
            "text_views": "JSON: the views of the corpus",
            "tokenizer_views": "JSON: the views of the tokenizer",
            "model_views": "JSON: the views of the model",
            "training_views": "JSON: what was learned when",
            "stories_views": "JSON: the views of what the model writes",
            "story_metrics": "JSON: its figures, and those of validation text",
            "chat_views": "JSON: the views of the chat model",
            "learning": "PNG: what was learned when",
        },
    )
