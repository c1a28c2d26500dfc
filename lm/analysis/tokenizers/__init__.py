"""What a tokenizer has learned, and how it splits texts of many kinds."""
