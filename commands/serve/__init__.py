"""A server on this machine: a web page to talk with a model, and the same for programs, as OpenAI's API has it."""
