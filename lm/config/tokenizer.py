"""Parameters of the tokenizer."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lm.config.base import Section
from lm.config.special_tokens import END_OF_TEXT


class TokenizerConfig(Section):
    """How text becomes ids."""

    kind: Literal["bpe", "char", "byte", "pretrained"]
    trainer: Literal["storyline", "huggingface"]
    vocab_size: Annotated[int, Field(le=2**16)]
    min_frequency: Annotated[int, Field(ge=1)]
    ties: Literal["huggingface", "lexicographic"]
    special_tokens: list[str]
    pretrained: str | None

    @property
    def sources(self) -> list[str]:
        """Where the tokenizer comes from, if it is pretrained: one source or none."""
        return [] if self.pretrained is None else [self.pretrained]

    @property
    def all_special_tokens(self) -> list[str]:
        """`<|endoftext|>`, which every tokenizer has, followed by `special_tokens`."""
        return [END_OF_TEXT, *self.special_tokens]

    @model_validator(mode="after")
    def _check(self) -> Self:
        specials = self.all_special_tokens
        if "" in specials:
            raise self.wrong("special_tokens", f"must not be empty strings, got {self.special_tokens}")
        if len(set(specials)) != len(specials):
            raise self.wrong(
                "special_tokens", f"must differ from each other and from {END_OF_TEXT}, got {self.special_tokens}"
            )
        least, what = {"bpe": (256, "256 bytes"), "char": (2, "2 characters")}.get(self.kind, (None, ""))
        if least is not None and self.vocab_size < least + len(specials):
            raise self.wrong(
                "vocab_size",
                f"must be at least {least + len(specials)} "
                f"({what} and {len(specials)} special tokens), got {self.vocab_size}",
            )
        if (self.kind == "pretrained") != (self.pretrained is not None):
            raise self.wrong(
                "pretrained",
                "must name a tokenizer if kind is 'pretrained', and be null otherwise, "
                f"got {self.pretrained!r} and kind {self.kind!r}",
            )
        if self.trainer == "huggingface" and self.ties != "huggingface":
            raise self.wrong("ties", f"must be 'huggingface' with trainer 'huggingface', got {self.ties!r}")
        return self
