"""New proteins from causal models: decoders, sampling, and the FASTA file."""
