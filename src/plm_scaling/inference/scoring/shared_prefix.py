"""Log-likelihoods of sequences that begin as one of them does, which is read once.

Each is read from where it differs, with the keys and values of what is before. That is exact in a
causal model: nothing there depends on what follows. It takes a model whose attention can be given
them (`generation.cache`), and sequences of one window.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from plm_scaling.inference.arrays import Count, Floats, Ints, Tokens
from plm_scaling.inference.generation.cache import Cached, cached
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.windows import BATCH_TOKENS
from plm_scaling.tokens.format.vocabulary import PAD
from plm_scaling.train.model.builder import SequenceModel

KEPT = 4


def shares_prefixes(model: Model, longest: int) -> bool:
    """Whether sequences of up to `longest` residues can be read so."""
    one_window = len(model.windows(np.array([longest])).size) == 1
    return isinstance(model.network, SequenceModel) and model.objective == "clm" and one_window


def log_likelihoods(
    model: Model,
    first: str,
    sequences: Sequence[str],
    count: Count = lambda tokens: None,
) -> NDArray[np.float64]:
    """Nats of `first` and of each of `sequences`, over the residues that have a probability.

    Raises `ValueError` for a model or a length that `shares_prefixes` says no to. `count` is told
    how many tokens pass through the model.
    """
    network = model.network
    longest = max(map(len, [first, *sequences]))
    if not (isinstance(network, SequenceModel) and shares_prefixes(model, longest)):
        raise ValueError(f"{model.name} cannot continue from what is common to sequences")
    rows = [_row(model, one) for one in (first, *sequences)]
    width = max(map(len, rows))
    table = np.full((len(rows), width), PAD, np.uint8)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    lengths = np.array([len(row) for row in rows])
    # Tokens that are as in the first: the one after them is predicted without reading any more.
    same = np.cumprod(table == table[0], axis=1).sum(1)
    with cached(network, model.context_length, width, model.device) as decoder:
        of_first = _logs(decoder.read(rows[0][None]))[0]
        count(len(rows[0]))
        found = np.full(table.shape, np.nan)
        for some, begin in _batches(same, lengths, BATCH_TOKENS[model.device.type]):
            found[some] = _targets(decoder, of_first, table[some], lengths[some], begin, count)
    found[:, : len(model.alphabet.row_prefix) + (model.alphabet.start is not None)] = np.nan
    found[(table == model.alphabet.other) | (np.arange(width) >= lengths[:, None])] = np.nan
    found[np.isneginf(found)] = np.nan
    return np.nansum(found, axis=1)


def _row(model: Model, sequence: str) -> Tokens:
    tokens = model.tokens(sequence.encode() + b"\n\0")[:-1]  # not the end
    return np.array([*model.alphabet.row_prefix, *tokens], np.uint8)


def _logs(logits: torch.Tensor) -> Floats:
    logs: Floats = logits.float().log_softmax(-1).cpu().numpy()
    return logs


def _batches(same: Ints, lengths: Ints, tokens: int) -> Iterator[tuple[Ints, int]]:
    """Rows that are read together, and from which token on. Each keeps keys and values of its whole
    length, of which there are at most `KEPT` times the tokens that are read."""
    order, longest = np.argsort(same, kind="stable"), int(lengths.max())
    begin = 0
    while begin < len(order):
        place = int(min(same[order[begin]], lengths[order[begin:]].min()))
        rows = max(1, min(tokens // max(1, longest - place), KEPT * tokens // longest))
        yield order[begin : begin + rows], place
        begin += rows


def _targets(
    decoder: Cached, of_first: Floats, rows: Tokens, lengths: Ints, begin: int, count: Count
) -> NDArray[np.float64]:
    """Log-probabilities [rows, width] of the tokens of rows that are the first one's up to `begin`;
    NaN of the first token, which nothing precedes."""
    found = np.full(rows.shape, np.nan)
    number = np.arange(len(rows))[:, None]
    upto = min(begin, rows.shape[1] - 1)
    known = np.arange(1, upto + 1)
    found[:, 1 : upto + 1] = of_first[known - 1, rows[:, 1 : upto + 1]]
    last = int(lengths.max()) - 1  # nothing that counts is predicted from the last token
    if begin < last:
        read = rows[:, begin:last]
        logs = _logs(decoder.branches(read, begin))
        place = np.arange(last - begin)
        found[:, begin + 1 : last + 1] = logs[number, place, rows[:, begin + 1 : last + 1]]
        count(read.size)
    return found
