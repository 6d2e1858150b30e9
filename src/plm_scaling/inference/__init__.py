"""What a trained cell is used for: scores, embeddings, and an export to other software."""
