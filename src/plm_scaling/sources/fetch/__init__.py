"""Raw files: fetched, verified, and what each was compared with."""
