"""A finished CLM run of our own as a reference model: nats per residue of protein sequences.

The other implementation of `plm_scaling.filter.reference.ReferenceModel` is the n-gram model.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.core.models.gpt import GPTModel
from numpy.typing import NDArray

from plm_scaling.errors import SweepError, TrainError
from plm_scaling.files import read_json
from plm_scaling.sweep.cells import Cell
from plm_scaling.tokens.vocabulary import PAD, encode
from plm_scaling.train.attention import Segments
from plm_scaling.train.batches import Batch
from plm_scaling.train.checkpoint import load_weights
from plm_scaling.train.losses import model_losses
from plm_scaling.train.model import build_model
from plm_scaling.train.process import cpu_process

BATCH_TOKENS = 1 << 14  # rows times width of a forward pass
CHUNK_RESIDUES = 1 << 18  # enough sequences for batches of nearly equal length


@dataclass(frozen=True)
class Pieces:
    """Windows of the sequences of a chunk.

    `sequence` each belongs to; `start` in the joined tokens and `size`, in tokens; `first` is the
    first token of the window whose prediction counts, so that each counts once.
    """

    sequence: NDArray[np.int64]
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    first: NDArray[np.int64]


@dataclass(frozen=True)
class ClmScorer:
    """Scores by a causal model with rows of `context_length` tokens.

    Sequences of nearly equal length share a batch, one to a row. What follows a token changes
    nothing for a causal model, so padding needs no mask, and all rows are attended to in one call;
    a score depends on its neighbours by rounding alone. The first residue has nothing to be
    predicted from and does not count, nor does the end of the sequence; a sequence of one residue
    has no score. One longer than the context is read in windows of the context's length that
    overlap by half, and a residue counts in the first window that holds it: each is predicted from
    at least half a context, or from all that precedes it.
    """

    model: GPTModel
    context_length: int
    name: str
    device: torch.device
    chunk_residues: int = CHUNK_RESIDUES

    @torch.no_grad()
    def nll_per_residue(self, chunk: bytes, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean nats per predicted residue of each sequence of a chunk of database entries."""
        tokens = np.frombuffer(encode(chunk), np.uint8)
        pieces = windows(lengths, self.context_length)
        total = np.zeros(len(lengths))
        for own in _batches(pieces.size):
            width = int(pieces.size[own].max())
            column = np.arange(width)
            inside = column < pieces.size[own, None]
            rows = np.full(inside.shape, PAD, np.uint8)
            rows[inside] = tokens[(pieces.start[own, None] + column)[inside]]
            losses = model_losses(self.model, _batch(rows, self.device))
            # A loss at position i is that of predicting token i + 1.
            counted = inside[:, 1:] & (column[1:] >= pieces.first[own, None])
            nats = losses[:, :-1].cpu().numpy().astype(np.float64)
            np.add.at(total, pieces.sequence[own], (nats * counted).sum(axis=1))
        return np.where(lengths > 1, total / np.maximum(lengths - 1, 1), np.nan)


def windows(lengths: NDArray[np.int64], context_length: int) -> Pieces:
    """The windows in which sequences of these lengths are read."""
    stride = context_length // 2
    beyond = np.maximum(lengths - context_length, 0)
    n_windows = 1 + -(-beyond // stride)
    sequence = np.repeat(np.arange(len(lengths)), n_windows)
    number = np.arange(len(sequence)) - (np.cumsum(n_windows) - n_windows)[sequence]
    offset = np.minimum(number * stride, beyond[sequence])  # the last window ends at the end
    seen = np.where(number > 0, (number - 1) * stride + context_length, 1)  # by the one before
    ends = np.cumsum(lengths + 1)  # each sequence is followed by eod
    return Pieces(
        sequence=sequence,
        start=(ends - lengths - 1)[sequence] + offset,
        size=np.minimum(lengths, context_length)[sequence],
        first=seen - offset,
    )


def _batches(sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Places of the pieces that go together, by falling size."""
    order = np.argsort(-sizes, kind="stable")
    begin = 0
    while begin < len(order):
        rows = max(1, BATCH_TOKENS // int(sizes[order[begin]]))
        yield order[begin : begin + rows]
        begin += rows


def _batch(rows: NDArray[np.uint8], device: torch.device) -> Batch:
    """Next-token prediction in rows that hold one sequence each; every loss is computed."""
    count, width = rows.shape
    inputs = torch.from_numpy(rows.astype(np.int64)).to(device)
    segments = Segments.of(np.arange(count) * width, np.full(count, width))
    return Batch(
        inputs=inputs,
        labels=inputs.roll(-1, 1),
        loss_mask=torch.ones_like(inputs, dtype=torch.float32),
        positions=torch.arange(width, device=device).expand(count, -1),
        segments=replace(
            segments, order=segments.order.to(device), inverse=segments.inverse.to(device)
        ),
    )


@contextmanager
def clm_scorer(folder: Path, threads: int) -> Iterator[ClmScorer]:
    """The final weights of the run in `folder` (result.json, checkpoints/), on CUDA if there is.

    Nothing in the folder is changed. Raises `TrainError` if the run did not finish, is of an MLM,
    or is damaged.
    """
    cell = _clm_cell(folder)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # same sums in every run on CUDA
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with cpu_process(threads, cell.seed):
        model = build_model(cell)
        load_weights(folder, model)
        model.eval().to(device)
        rotary: Any = model.rotary_pos_emb
        rotary.inv_freq = rotary.inv_freq.to(device)  # no buffer, so `to` leaves it behind
        name = f"clm {cell.size} {cell.cell} {_weights_sha256(model)[:12]}"
        yield ClmScorer(model, cell.context_length, name, device)


def _weights_sha256(model: GPTModel) -> str:
    """Of the weights themselves: the same whatever layout or checkpoint they came from."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _clm_cell(folder: Path) -> Cell:
    """The cell of a CLM run."""
    result = folder / "result.json"
    if not result.is_file():
        raise TrainError(f"{folder} has no result.json: the cell is not trained; train it first")
    try:
        record = read_json(result)
        cell = Cell.from_json(json.dumps(record["config"]))
    except (ValueError, KeyError, TypeError, SweepError) as error:
        raise TrainError(
            f"{result} is no record of a cell of this version ({error}); train the cell again"
        ) from error
    if cell.objective != "clm":
        raise TrainError(
            f"{folder} is an {cell.objective.upper()} run: only a causal model gives every residue "
            "a probability in one pass; take a CLM run"
        )
    return cell
