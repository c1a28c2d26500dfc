"""The metrics that experiments are compared by, and what they are called."""

METRICS = {
    "bits_per_byte": "bits per byte",
    "loss": "nats per token",
    "accuracy": "token accuracy",
    "chat.loss": "nats per token of answers",
    "chat.right_answers": "share of right answers",
    "chat.words_used": "share of requested words",
}
HIGHER_IS_BETTER = {"accuracy", "chat.right_answers", "chat.words_used"}
DEFAULT = "bits_per_byte"  # because it also compares texts that are cut into different tokens


def is_of_chat(metric: str) -> bool:
    """Whether a metric belongs to the chat model, and not to the base model."""
    return metric.startswith("chat.")
