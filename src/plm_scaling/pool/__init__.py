"""The pool: different sequences by content, in parts, and MMseqs2 databases of them."""
