"""Let the model continue each prompt, and write the texts: as Markdown to read, as JSON to work with."""

from typing import Any

from tqdm import tqdm

from lm.config.sample import SampleConfig
from lm.formats.model_file import check_same_tokenizer
from lm.generation.events import End, collect, counted
from lm.generation.texts import continuations, continue_prompts
from lm.model.load import load_model
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
        model, card = load_model(stage.path("model"))
        check_same_tokenizer(
            str(stage.path("tokenizer")), tokenizer.sha256, str(stage.path("model")), card.tokenizer_sha256
        )
        model.to(choose_device(config.device, "sample.device"))
        with tqdm(desc="sample", unit=" tokens", disable=None) as bar:
            events = continue_prompts(model, tokenizer, config, end_id=card.end_id, seed=seed)
            happened = list(counted(events, bar.update))
    texts, ids = continuations(tokenizer, config.prompts, happened), collect(happened, len(config.prompts))
    complete = {event.row: event.complete for event in happened if isinstance(event, End)}

    samples = [
        {"prompt": prompt, "text": texts[row], "ids": ids[row], "complete": complete[row]}
        for row, prompt in enumerate(config.prompts)
    ]
    settings = config.model_dump(exclude={"prompts", "device"})
    write_json(stage.path("samples_json"), {"seed": seed, "settings": settings, "samples": samples})
    with replacing(stage.path("samples")) as file:
        file.write(_markdown(config, seed, samples).encode())


def _markdown(config: SampleConfig, seed: int, samples: list[dict[str, Any]]) -> str:
    """One section a prompt."""
    settings = f"temperature {config.temperature:g}, top-k {config.top_k}, top-p {config.top_p}, seed {seed}"
    lines = ["# Samples", "", f"{settings}. Prompts in bold.", ""]
    for sample in samples:
        cut = "" if sample["complete"] else " …"
        lines += [*(f"> {line}" for line in _bold(sample["prompt"], sample["text"] + cut).split("\n")), "", "---", ""]
    return "\n".join(lines[:-2])


def _bold(prompt: str, continuation: str) -> str:
    """Prompt and continuation as one text, the prompt in bold where there is one to mark."""
    marked = f"**{prompt}**" if prompt and prompt == prompt.strip() and "\n" not in prompt else prompt
    return marked + continuation


if __name__ == "__main__":
    run(
        main,
        __doc__,
        inputs={"model": "the trained model", "tokenizer": "the tokenizer.json it was trained with"},
        outs={"samples": "Markdown: the texts", "samples_json": "JSON: the texts, their ids and the settings"},
    )
