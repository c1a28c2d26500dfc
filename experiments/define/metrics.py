"""The metrics that experiments are compared by, and what they are called."""

METRICS = {
    "bits_per_byte": "bits per byte",
    "loss": "nats per token",
    "accuracy": "token accuracy",
    "stories.grammar_follows": "share of a story that the grammar can tell",
    "stories.in_grammar": "share of stories that the grammar can tell",
    "stories.keeps_names_and_things": "share of stories that keep names and things",
    "stories.closeness_2": "closeness to validation text",
    "chat.loss": "nats per token of answers",
    "chat.right_answers": "share of right answers",
    "chat.words_used": "share of requested words",
}
HIGHER_IS_BETTER = {metric for metric in METRICS if metric not in ("bits_per_byte", "loss", "chat.loss")}
DEFAULT = "bits_per_byte"  # because it also compares texts that are cut into different tokens


def is_of_chat(metric: str) -> bool:
    """Whether a metric belongs to the chat model, and not to the base model."""
    return metric.startswith("chat.")
