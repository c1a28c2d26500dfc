"""Our model as a model of Hugging Face `transformers`, for `trust_remote_code=True`.

An export with code puts this file into its folder, and beside it the files of ours that it imports.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name the field uses)
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from lm.config.model import ModelConfig
from lm.model.positions import PositionTable
from lm.model.transformer import Transformer


class StorylineConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """config.json: `model` is the section of that name in params.yaml."""

    model_type = "storyline"

    def __init__(self, model: dict[str, Any] | None = None, vocab_size: int = 0, **others: Any) -> None:
        self.model = model
        self.vocab_size = vocab_size
        self.num_hidden_layers = (model or {}).get("n_layers", 0)
        self.max_position_embeddings = (model or {}).get("context_length", 0)
        super().__init__(**others)


class StorylineForCausalLM(PreTrainedModel, GenerationMixin):
    """Logits of the next tokens, and the loss where labels are given. It has no cache, so long texts take long.

    The texts of a batch must have the same length, because the model knows no padding.
    """

    config_class = StorylineConfig
    main_input_name = "input_ids"
    _supports_cache_class = False

    def __init__(self, config: StorylineConfig) -> None:
        super().__init__(config)
        with torch.device("cpu"):  # transformers builds models without memory, but the tables of positions need it
            self.model = Transformer(ModelConfig.parse(config.model), config.vocab_size)
        self._tables = {
            module: module.values.clone() for module in self.model.modules() if isinstance(module, PositionTable)
        }
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _init_weights(self, module: torch.nn.Module) -> None:
        """Restore the tables of positions, which loading clears because they are not in the file."""
        if isinstance(module, PositionTable):
            module.values.copy_(self._tables[module])

    def get_input_embeddings(self) -> torch.nn.Embedding:
        """The embedding of the tokens."""
        embedding: torch.nn.Embedding = self.model.embedding
        return embedding

    def prepare_inputs_for_generation(  # type: ignore[override]  # without what only a cache needs
        self, input_ids: Tensor, attention_mask: Any = None, **_: Any
    ) -> dict[str, Any]:
        """What `forward` gets for the next token: the last tokens, as many as the context holds."""
        n = self.config.max_position_embeddings
        return {
            "input_ids": input_ids[:, -n:],
            "attention_mask": None if attention_mask is None else attention_mask[:, -n:],
        }

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None, **_: Any
    ) -> CausalLMOutput:
        """The logits of the token that follows each position.

        Raises:
            ValueError: when the mask hides a token.
        """
        if attention_mask is not None and not attention_mask.all():
            raise ValueError("attention_mask: must be 1 everywhere, because this model knows no padding")
        logits = self.model(input_ids)
        loss = None if labels is None else F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)
