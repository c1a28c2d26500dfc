"""What ends a document, alone on a line of a text file and as a token."""

END_OF_TEXT = "<|endoftext|>"
