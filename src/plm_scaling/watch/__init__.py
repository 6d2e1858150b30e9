"""A study as it stands, from its files: for the terminal, as JSON, on a page that follows it."""
