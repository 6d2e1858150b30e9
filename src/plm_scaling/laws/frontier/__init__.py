"""The lower envelope of learning curves over compute."""
