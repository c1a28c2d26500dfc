"""Let a trained model continue texts."""
