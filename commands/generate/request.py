"""What is asked of a model, and the texts that it writes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lm.config.sample import SampleConfig
from lm.generation.events import Event, counted
from lm.generation.load import Trained
from lm.generation.sampling import Sampling
from lm.generation.speculation import Guesses, speculate
from lm.generation.texts import continuation, continue_prompts
from lm.generation.written import WrittenText, written_texts

N_GUESSES = 4  # tokens that are guessed before the model checks them


@dataclass(frozen=True)
class Request:
    """A model, what it shall write, and how.

    Attributes:
        trained: the model and its tokenizer.
        config: prompts and strategy.
        seed: decides what is drawn.
        batch: how many texts are written at once, at most; all samples of one prompt are.
        special: special tokens in a prompt are tokens, not plain text.
        logprobs: how many alternatives of each token are noted, beside its log probability; None: neither.
        guesses: what guesses tokens that the model then checks several at a time; None: nothing does.
    """

    trained: Trained
    config: SampleConfig
    seed: int
    batch: int
    special: bool
    logprobs: int | None
    guesses: Guesses | None

    @property
    def n_texts(self) -> int:
        """How many texts will be written."""
        return len(self.config.prompts) * self.config.samples

    def check(self) -> None:
        """Raise ValueError when no text can be what is asked for."""
        self._events(0, 1)  # which are not computed before somebody takes one

    def n_long_prompts(self) -> int:
        """How many prompts are longer than the context, so that the model sees only the end of them."""
        context_length, tokenizer = self.trained.card.config.context_length, self.trained.tokenizer
        encoded = tokenizer.encode_batch(self.config.prompts, allow_special=self.special)
        return sum(1 + len(ids) > context_length for ids in encoded)

    def stream(self, happened: Callable[[Event], object]) -> Iterator[str]:
        """The text that follows the only prompt, in pieces, as soon as each is certain; then `happened` knows why."""

        def watched() -> Iterator[Event]:
            for event in self._events(0, 1):
                happened(event)
                yield event

        (prompt,) = self.config.prompts
        return continuation(self.trained.tokenizer, prompt, watched(), self.config.stop, special=self.special)

    def texts(self, progress: Callable[[int], object]) -> Iterator[WrittenText]:
        """All texts, each as it ends; `progress` is called with 1 for each token."""
        at_once = max(1, self.batch // self.config.samples)
        for first in range(0, len(self.config.prompts), at_once):
            yield from written_texts(
                self.trained.tokenizer,
                self.config.prompts[first : first + at_once],
                counted(self._events(first, at_once), progress),
                samples=self.config.samples,
                stop=self.config.stop,
                special=self.special,
                first_prompt=first,
            )

    def _events(self, first: int, n: int) -> Iterator[Event]:
        model, tokenizer, card = self.trained
        config = self.config.model_copy(update={"prompts": self.config.prompts[first : first + n]})
        if self.guesses is not None:
            return self._checked_guesses(config.prompts, first, self.guesses)
        return continue_prompts(
            model,
            tokenizer,
            config,
            end_id=card.end_id,
            seed=self.seed,
            logprobs=self.logprobs,
            special=self.special,
            first_prompt=first,
        )

    def _checked_guesses(self, prompts: Sequence[str], first: int, guesses: Guesses) -> Iterator[Event]:
        model, tokenizer, card = self.trained
        for row, ids in enumerate(tokenizer.encode_batch(prompts, allow_special=self.special)):
            yield from speculate(
                model,
                [card.end_id, *ids],
                Sampling.of(self.config),
                guesses=guesses,
                n_guesses=N_GUESSES,
                max_new_tokens=self.config.max_new_tokens,
                end_id=card.end_id,
                seed=self.seed,
                row=row,
                first_prompt=first,
            )
