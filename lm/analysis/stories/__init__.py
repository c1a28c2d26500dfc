"""What the texts that a model writes are like, beside validation text; no model judges."""
