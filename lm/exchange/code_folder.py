"""A folder that `transformers` opens with `trust_remote_code=True`: our weights with our own code.

For models with switches that no architecture of transformers has. The code is that of this repository: the file
`modeling_storyline.py` and all files of ours that it imports, side by side, because such a folder has no packages.
"""

import ast
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from lm.config.export import Dtype
from lm.exchange.dtypes import TORCH
from lm.exchange.rewrites import Model
from lm.exchange.transformers_folder import DTYPE, write_tokenizer
from lm.system.files import replacing, write_json
from lm.tokenizer.tokenizer import Tokenizer

_ROOT = Path(__file__).parent.parent.parent
_START = "lm.exchange.modeling_storyline"


def write_code_folder(
    folder: Path, model: Model, tokenizer: Tokenizer, dtype: Dtype, generation: dict[str, Any]
) -> None:
    """Write a model, its tokenizer and the code of the model into a folder that exists."""
    tensors = {f"model.{name}": torch.tensor(array).to(TORCH[dtype]) for name, array in model.weights.items()}
    with replacing(folder / "model.safetensors") as file:
        file.write(save(tensors, {"format": "pt"}))
    settings = {
        "architectures": ["StorylineForCausalLM"],
        "model_type": "storyline",
        "auto_map": {
            "AutoConfig": "modeling_storyline.StorylineConfig",
            "AutoModelForCausalLM": "modeling_storyline.StorylineForCausalLM",
        },
        "model": model.config.model_dump(),
        "vocab_size": model.vocab_size,
        **{f"{kind}_token_id": tokenizer.end_id for kind in ("bos", "eos", "pad")},
        "dtype": DTYPE[dtype],
        "use_cache": False,
        "tie_word_embeddings": False,  # the head reads the embedding itself
    }
    write_json(folder / "config.json", settings)
    write_tokenizer(folder, model, tokenizer, generation | {"use_cache": False})
    for module, source in _sources().items():
        name = "modeling_storyline" if module == _START else _flat(module)
        (folder / f"{name}.py").write_text(source, encoding="utf-8")


def _sources() -> dict[str, str]:
    """The text of each module of ours that the model needs, with imports from the same folder."""
    sources: dict[str, str] = {}
    waiting = [_START]
    while waiting:
        module = waiting.pop()
        text = (_ROOT / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8")
        ours = {
            node.module
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lm.")
        }
        waiting += sorted(ours - sources.keys() - {module})
        sources[module] = re.sub(
            r"^from (lm\.[\w.]+) import", lambda found: f"from .{_flat(found[1])} import", text, flags=re.M
        )
    return sources


def _flat(module: str) -> str:
    return module.replace(".", "_")
