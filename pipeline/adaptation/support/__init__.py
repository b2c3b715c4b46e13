"""What a line remembers: who said what of which part, which embeddings stand for a class, and what the stream was."""
