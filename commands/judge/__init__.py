"""Let another language model grade stories."""
