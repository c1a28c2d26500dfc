"""When a loss says that a model has diverged."""

LARGEST_LOSS = 700  # nats a token; exp(710) is beyond float64


def has_diverged(loss: float) -> bool:
    """Whether a loss is NaN, infinite, or so large that its perplexity, exp(loss), may be infinite."""
    return not loss < LARGEST_LOSS
