"""What a corpus is like: its words, its lengths, what stands in it twice, and what is copied from it."""
