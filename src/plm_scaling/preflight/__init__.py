"""What sequence files are, and what the pipeline would make of them, before anything runs."""
