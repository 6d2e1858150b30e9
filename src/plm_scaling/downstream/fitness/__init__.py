"""What changes of a protein do to its function, predicted without training on it."""
