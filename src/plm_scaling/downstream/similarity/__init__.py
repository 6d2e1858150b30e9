"""How like the training sequences, and like each other, the proteins of benchmarks are."""
