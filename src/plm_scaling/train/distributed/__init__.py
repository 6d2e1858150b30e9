"""The processes of a cell and what they say to each other."""
