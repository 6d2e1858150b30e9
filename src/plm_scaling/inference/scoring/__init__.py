"""How well models predict sequences: log-probabilities of residues, and the tables of them."""
