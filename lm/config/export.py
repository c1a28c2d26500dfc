"""Parameters of the export."""

from typing import Literal

from lm.config.base import Section

Dtype = Literal["f32", "bf16", "f16", "q8_0"]


class ExportConfig(Section):
    """In which formats the trained model is written for other programs, and in which type its weights are stored."""

    transformers: Literal["f32", "bf16", "f16"] | None
    gguf: Dtype | None
