"""Token corpora as they are trained on: rows, order, mixtures."""
