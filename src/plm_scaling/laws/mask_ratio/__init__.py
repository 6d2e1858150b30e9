"""The best share of masked tokens."""
