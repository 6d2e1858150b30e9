"""MMseqs2: the binary, its resources, steps that survive a kill, clusterings and searches."""
