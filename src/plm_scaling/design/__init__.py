"""Which cells to train: what a sweep teaches about a question, by simulation, and what it costs."""
