"""Special tokens by name. The one that ends a document stands alone on a line of a text file."""

END_OF_TEXT = "<|endoftext|>"

# A message of a dialogue is the token of its role, its text, and the end of its turn.
ROLE_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
END_OF_TURN = "<|end|>"
CHAT_TOKENS = (*ROLE_TOKENS.values(), END_OF_TURN)
