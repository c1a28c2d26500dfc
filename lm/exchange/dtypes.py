"""The types in which weights are stored: how each rounds."""

import numpy as np
import torch
from gguf import GGMLQuantizationType, quants

from lm.config.export import Dtype
from lm.config.weights import GROUP
from lm.exchange.rewrites import Model
from lm.formats.model_file import Weights

TORCH: dict[str, torch.dtype] = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
GGUF: dict[str, GGMLQuantizationType] = {
    "f32": GGMLQuantizationType.F32,
    "bf16": GGMLQuantizationType.BF16,
    "f16": GGMLQuantizationType.F16,
    "q8_0": GGMLQuantizationType.Q8_0,  # blocks of 32 weights of a row share a scale
}


def check_dtype(model: Model, dtype: Dtype) -> None:
    """Raise ValueError unless the matrices can be stored in this type."""
    sizes = {"d_model": model.config.d_model, "d_ff": model.config.sizes.d_ff}
    for name, size in sizes.items():
        if dtype == "q8_0" and size % GROUP:
            raise ValueError(f"model.{name}: must be a multiple of {GROUP} for q8_0, got {size}")


def stored_as(name: str, dtype: Dtype) -> Dtype:
    """The type of one parameter in a GGUF file: vectors and positions stay in f32, as in llama.cpp's own files."""
    is_matrix = name.endswith(".weight") and "norm" not in name and name != "position_embedding.weight"
    return dtype if is_matrix else "f32"


def rounded(weights: Weights, dtypes: dict[str, Dtype]) -> Weights:
    """The weights as they are after they have been stored: float32 arrays."""
    result = {}
    for name, array in weights.items():
        kind = GGUF[dtypes[name]]
        flat = np.ascontiguousarray(array, dtype=np.float32)
        result[name] = np.asarray(quants.dequantize(quants.quantize(flat, kind), kind), np.float32).reshape(array.shape)
    return result
