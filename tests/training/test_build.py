"""From a configuration to a backend, with and without PyTorch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lm.training.build import build_backend
from lm.training.numpy_backend import NumpyBackend
from lm.training.torch_backend import TorchBackend
from tests.graph import ROOT
from tests.small import model_config, random_documents, train_config, write_tokens


def test_the_backend_asked_for_is_built_and_says_what_computes() -> None:
    built = build_backend(train_config(), model_config(), 20, 1)
    assert isinstance(built[0], TorchBackend)
    assert built[1] == f"torch {torch.__version__} on cpu"
    built = build_backend(train_config(backend="numpy"), model_config(), 20, 1)
    assert isinstance(built[0], NumpyBackend)
    assert built[1] == f"numpy {np.__version__} on cpu"


def test_a_device_that_the_machine_lacks_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^device: must be one that this machine has .* got 'cuda'$"):
        build_backend(train_config(device="cuda"), model_config(), 20, 1)


WITHOUT_PYTORCH = """
import sys
sys.modules["torch"] = None  # an import of it now fails

from pathlib import Path
from lm.config.model import ModelConfig
from lm.config.train import TrainConfig
from lm.generation.generate import generate
from lm.reference.load import load_model
from lm.tokens import TokenFile
from lm.training.build import build_backend
from lm.training.resume import open_resume_folder
from lm.training.trainer import Trainer
from lm.weights import ModelCard, save_model
import stages.train

folder = Path(sys.argv[1])
config, model_config = TrainConfig.load(folder / "params.yaml"), ModelConfig.load(folder / "params.yaml")
tokens = TokenFile(folder / "tokens.bin", folder / "tokens.json")

def trainer():
    return Trainer(build_backend(config, model_config, 20, 1)[0], tokens, tokens, config, 8, 1)

first = trainer()
next(first.run())
with open_resume_folder(folder, "key") as resume:
    resume.save(first.state())
    second = trainer()
    second.load_state(resume.load())
losses = list(second.run())
assert losses == list(first.run()) and len(losses) == config.steps - 1
save_model(folder / "model.safetensors", second.kept_weights, ModelCard.of(model_config, tokens.card))
model, _ = load_model(folder / "model.safetensors")
print(generate(model, [[1, 2]], max_new_tokens=5, temperature=0.0, top_k=None, top_p=None, end_id=0, seed=0))
"""


def test_numpy_trains_resumes_saves_loads_and_generates_where_there_is_no_pytorch(tmp_path: Path) -> None:
    write_tokens(tmp_path, random_documents(20, 30, 20), 20)
    sections = {"model": model_config().model_dump(), "train": train_config(backend="numpy").model_dump()}
    (tmp_path / "params.yaml").write_text(str(sections).replace("None", "null"))  # YAML reads such braces and quotes
    command = [sys.executable, "-c", WITHOUT_PYTORCH, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("[[")
