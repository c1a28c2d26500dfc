"""List the files that data.train, data.valid and tokenizer.pretrained name, each with its hash.

DVC cannot take paths or patterns from params.yaml as dependencies. So this stage runs every time and writes the lists;
the stages after it run only if a list has changed. If the parameters name no files, the lists are empty.
"""

from lm.config.data import DataConfig
from lm.config.tokenizer import TokenizerConfig
from lm.corpus.files import list_inputs
from lm.corpus.made_files import MadeFiles
from lm.system.files import sha256, write_json
from lm.tokenizer.pretrained_files import pretrained_files
from stages.pipeline import written_paths
from stages.support import Stage, repository_root, run


def main(stage: Stage) -> None:
    """Write the name and the hash of each file."""
    data, tokenizer = stage.section(DataConfig), stage.section(TokenizerConfig)
    root = repository_root()
    written = written_paths(root)
    files = list_inputs(data, root, written) if data.source == "files" else []
    write_json(stage.path("data_inputs"), files)
    paths = pretrained_files(tokenizer.pretrained, root) if tokenizer.pretrained else []
    for path in paths:
        if MadeFiles(root, written).is_written(path):
            raise ValueError(f"tokenizer.pretrained: must be no file that the pipeline writes, got {str(path)!r}")
    write_json(stage.path("tokenizer_inputs"), [{"name": path.name, "sha256": sha256(path)} for path in paths])


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={},
        outs={
            "data_inputs": "JSON list of the files of the corpus, each with size and SHA-256",
            "tokenizer_inputs": "JSON list of the files of a pretrained tokenizer, each with SHA-256",
        },
    )
