"""The frozen towers: pictures and texts to embeddings, with the checks that they say what they should."""
