"""The token that ends a document. In a text file it stands alone on a line."""

END_OF_TEXT = "<|endoftext|>"
