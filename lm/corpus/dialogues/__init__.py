"""Where dialogues come from: the grammar of the built-in stories, files, datasets of the hub."""
