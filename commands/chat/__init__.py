"""Talk to a chat model in the terminal."""
