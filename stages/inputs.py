"""Check all parameters. List what they name outside: files with their hashes, and the commit of a dataset of the hub.

This stage runs before any that takes long, so that a mistake in a parameter of the last stage ends the run at once. DVC
cannot take paths or patterns from params.yaml as dependencies. So this stage runs every time and writes the lists; the
stages after it run only if a list has changed. If the parameters name nothing outside, the lists are empty.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from lm.config.analyze import AnalyzeConfig
from lm.config.chat import ChatConfig
from lm.config.data import DataConfig
from lm.config.dialogues import DialoguesConfig
from lm.config.evaluate import EvaluateConfig
from lm.config.finetune import FinetuneConfig
from lm.config.idle import idle_parameters
from lm.config.model import ModelConfig
from lm.config.sample import SampleConfig
from lm.config.sections import check_parameters
from lm.config.tokenizer import TokenizerConfig
from lm.config.train import TrainConfig
from lm.corpus.dialogues.sources import list_dialogue_inputs
from lm.corpus.made_files import MadeFiles
from lm.corpus.minimal_pairs import list_pairs
from lm.corpus.sources import list_inputs
from lm.system.files import write_json
from lm.system.gpus import is_absent
from lm.tokenizer.pretrained_files import PRETRAINED, pretrained_files
from lm.tokenizer.pretrained_inputs import list_pretrained
from stages.experiment import is_experiment, note_parameters
from stages.pipeline import has_result, written_paths
from stages.support import Stage, repository_root, run


def main(stage: Stage) -> None:
    """Write the name and the hash of each file, and the commit of a dataset."""
    check_parameters(stage.parameters)
    _check_devices(stage)
    if is_experiment():
        note_parameters(stage.parameters)
    data, tokenizer = stage.section(DataConfig), stage.section(TokenizerConfig)
    dialogues = stage.section(DialoguesConfig)
    others = stage.aside(ModelConfig), stage.aside(TrainConfig), stage.aside(SampleConfig)
    of_chat = stage.aside(FinetuneConfig), stage.aside(ChatConfig)
    for line in idle_parameters(data, tokenizer, dialogues, *others, *of_chat):
        print(f"note: {line}", file=sys.stderr)
    root = repository_root()
    written = written_paths(root)
    write_json(stage.path("data_inputs"), list_inputs(data, root, written))
    write_json(stage.path("dialogue_inputs"), list_dialogue_inputs(dialogues, root, written))
    made, beside = MadeFiles(root, written), stage.section(AnalyzeConfig, "other_tokenizers").other_tokenizers
    write_json(stage.path("tokenizer_inputs"), _list_tokenizers(tokenizer.sources, root, made, PRETRAINED))
    write_json(stage.path("other_tokenizers"), _list_tokenizers(beside, root, made, "analyze.other_tokenizers"))
    pairs = stage.section(EvaluateConfig, "minimal_pairs").minimal_pairs
    write_json(stage.path("pairs_inputs"), list_pairs(pairs, root, written))


def _list_tokenizers(sources: Sequence[str], root: Path, made: MadeFiles, place: str) -> list[dict[str, str]]:
    for path in (path for source in sources for path in pretrained_files(source, root, place)):
        if made.is_written(path):
            raise ValueError(f"{place}: must be no file that the pipeline writes, got {str(path)!r}")
    return list_pretrained(sources, root, place)


def _check_devices(stage: Stage) -> None:
    """Raise ValueError for devices that are not here, unless dvc.lock has the result of those parameters already."""
    users: dict[str, type[TrainConfig | EvaluateConfig | SampleConfig | ChatConfig]] = {
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "sample": SampleConfig,
        "evaluate_chat": ChatConfig,
    }
    mistakes = []
    for user, section in users.items():
        name, device = section.name(), stage.aside(section).device
        if is_absent(device) and not has_result(user, name, stage.parameters[name]):
            mistakes.append(f"{name}.device: must be one that this machine has, or 'auto', got {device!r}")
    if mistakes:
        raise ValueError("\n".join(mistakes))


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={},
        outs={
            "data_inputs": "JSON list: files of the corpus with size and SHA-256, or a dataset with its commit",
            "dialogue_inputs": "JSON list: files of dialogues with size and SHA-256, or a dataset with its commit",
            "tokenizer_inputs": "JSON list of the files of a pretrained tokenizer, each with SHA-256",
            "other_tokenizers": "JSON list of the files of the tokenizers to compare with, each with SHA-256",
            "pairs_inputs": "JSON list: the file of minimal pairs with its SHA-256, or the dataset with its commit",
        },
    )
