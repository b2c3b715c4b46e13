"""The worker that only learns: decided batches in, another head out."""
