"""In which precision the matrices of a trained model are read or stored, and what that asks of the model."""

from typing import Literal

from lm.config.base import Section
from lm.config.model import ModelConfig

Weights = Literal["fp32", "bf16", "int8", "int4"]
GROUP = 32  # numbers of a row that share a scale, in int4 and in llama.cpp's q8_0


def check_weights(section: Section, device: str, weights: Weights, model: ModelConfig) -> None:
    """Raise ValueError unless `section.weights` suits its device and a model of that shape."""
    if weights in ("int8", "int4") and device not in ("auto", "cpu"):
        raise section.wrong("weights", f"{weights!r} runs on a CPU only, got device={device!r}")
    if weights == "int4":
        check_widths(section, "weights", weights, model)


def check_widths(section: Section, parameter: str, value: str, model: ModelConfig) -> None:
    """Raise ValueError unless the rows of all matrices divide into groups."""
    for name, size in {"d_model": model.d_model, "d_ff": model.sizes.d_ff}.items():
        if size % GROUP:
            raise section.wrong(parameter, f"{value!r} needs a multiple of {GROUP} as model.{name}, got {size}")
