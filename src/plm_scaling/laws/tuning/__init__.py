"""The law of the best learning rate."""
