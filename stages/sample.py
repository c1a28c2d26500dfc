"""Let the model continue each prompt, and write the texts: as Markdown to read, as JSON to work with.

`sample.strategies` names more ways to write. Their texts stand beside the others, and measures tell all of them apart.
"""

from tqdm import tqdm

from lm.analysis.strategies import as_json, as_markdown, write_texts
from lm.config.sample import SampleConfig
from lm.formats.model_file import check_same_tokenizer
from lm.model.load import load_reader
from lm.system.devices import choose_device, explaining_memory_errors
from lm.system.files import replacing, write_json
from lm.system.gpus import claim_gpu
from lm.tokenizer.load import load_tokenizer
from stages.support import Stage, run


def main(stage: Stage) -> None:
    """Write what follows each prompt."""
    config, seed = stage.section(SampleConfig), stage.seed()
    claim_gpu(config.device)
    tokenizer = load_tokenizer(stage.path("tokenizer"))
    with explaining_memory_errors(
        f"sample.prompts: {len(config.prompts)} texts at once, or the model alone, do not fit into memory; "
        "give fewer prompts or change sample.device"
    ):
        device = choose_device(config.device, "sample.device")
        model, card = load_reader(stage.path("model"), config.weights, device, "sample.weights")
        check_same_tokenizer(
            str(stage.path("tokenizer")), tokenizer.sha256, str(stage.path("model")), card.tokenizer_sha256
        )
        with tqdm(desc="sample", unit=" tokens", disable=None) as bar:
            sets = write_texts(model, tokenizer, config, end_id=card.end_id, seed=seed, progress=bar.update)

    write_json(stage.path("samples_json"), as_json(sets, seed))
    with replacing(stage.path("samples")) as file:
        file.write(as_markdown(sets, seed).encode())


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={"model": "the trained model", "tokenizer": "the tokenizer.json it was trained with"},
        outs={"samples": "Markdown: the texts", "samples_json": "JSON: the texts, their ids and the settings"},
    )
