"""From a configuration to a backend."""

import sys

import numpy as np
import pytest
import torch

from lm.training.build import build_backend
from lm.training.numpy_backend import NumpyBackend
from lm.training.torch_backend import TorchBackend
from tests.small import model_config, train_config


def test_the_backend_asked_for_is_built_and_says_what_computes() -> None:
    built = build_backend(train_config(), model_config(), 20, 1)
    assert isinstance(built, TorchBackend)
    assert built.computed.words[0] == f"torch {torch.__version__} on cpu"
    assert built.computed.facts["library"] == f"torch {torch.__version__}"
    built = build_backend(train_config(backend="numpy"), model_config(), 20, 1)
    assert isinstance(built, NumpyBackend)
    assert built.computed.words[0] == f"numpy {np.__version__} on cpu"
    assert built.computed.facts["library"] == f"numpy {np.__version__}"


def test_a_machine_without_pytorch_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails as where it is not installed
    with pytest.raises(ValueError, match=r"^train\.backend: 'torch' is not installed here; install it, or "):
        build_backend(train_config(), model_config(), 20, 1)
