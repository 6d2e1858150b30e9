"""A study as it stands, from its files: for the terminal, as JSON, and as a page that follows it."""
