"""Log-probabilities of the residues of protein sequences, by a trained cell of either objective.

A causal model (CLM) gives them all in one pass, each after what precedes it; without start token
the first residue has nothing to be predicted from. A masked model (MLM) gives that of a residue
when it is masked: one at a time, as many passes as residues (pseudo-log-likelihood, Salazar et al.
2020; the pseudo-perplexity of ESM-2, Lin et al. 2023; the masked marginals of Meier et al. 2021),
or, `fast`, as many at a time as in training. One pass without masks (wild-type marginals) would be
faster still, but at positions that are not masked a model has learnt nothing, unless it was trained
with `masking: study` or `bert`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.arrays import Count, Floats, Ints, Tokens
from plm_scaling.inference.run import TrainedRun, open_run
from plm_scaling.inference.windows import Windows, batches, counted, window_rows
from plm_scaling.tokens.format.vocabulary import MASK, RESIDUE_ID, STANDARD

CHUNK_RESIDUES = 1 << 18  # enough sequences for batches of nearly equal length
_STANDARD_IDS = torch.tensor([RESIDUE_ID[letter] for letter in STANDARD])


@dataclass(frozen=True)
class Scorer:
    """Scores with the model of a run; `fast` as above.

    Sequences of nearly equal length share a batch, one to a row; a score depends on its neighbours
    only by rounding. One longer than the context is read in overlapping windows (`windows`). The
    end of the sequence is no residue and has no score.
    """

    run: TrainedRun
    fast: bool = False
    chunk_residues: int = CHUNK_RESIDUES

    @cached_property
    def name(self) -> str:
        """Objective, size, cell and weights, to the last bit."""
        cell = self.run.cell
        return f"{cell.objective} {cell.size} {cell.cell} {self.run.weights_sha256[:12]}"

    def nll_per_residue(self, chunk: bytes, lengths: Ints) -> NDArray[np.float64]:
        """Mean nats per residue of each sequence of a chunk of database entries `SEQUENCE\\n\\0`;
        NaN for a sequence of one residue in a CLM without start token."""
        return mean_nll(self.scores(chunk, lengths)[0], lengths)

    def work(self, lengths: Ints) -> int:
        """Tokens that pass through the model to score sequences of these lengths."""
        pieces = self.run.windows(lengths)
        return int((pieces.size * self._passes(pieces)).sum())

    def scores(
        self,
        chunk: bytes,
        lengths: Ints,
        marginals: bool = False,
        count: Count = lambda tokens: None,
    ) -> tuple[Floats, Floats | None]:
        """Log-probabilities (nats) of the residues of a chunk of database entries, in order.

        [residues] of those that are there, NaN for the first of a sequence in a CLM without start
        token; and of an MLM, if `marginals`, [residues, 20] of the amino acids in the order of
        `STANDARD`.
        """
        tokens, pieces = self.run.tokens(chunk), self.run.windows(lengths)
        own = np.full(int(lengths.sum()), np.nan, np.float32)
        if self.run.cell.objective == "clm":
            self._causal(tokens, pieces, own, count)
            return own, None
        of_all = np.full((len(own), len(STANDARD)), np.nan, np.float32) if marginals else None
        self._masked(tokens, pieces, own, of_all, count)
        return own, of_all

    def _passes(self, pieces: Windows) -> Ints:
        ratio = self.run.cell.mask_ratio
        if ratio is None:
            return np.ones_like(pieces.size)
        if self.fast:
            return np.minimum(pieces.residues, max(1, round(1 / ratio)))
        return pieces.last - pieces.first

    def _causal(self, tokens: Tokens, pieces: Windows, own: Floats, count: Count) -> None:
        for some in batches(pieces.size, self.run.device.type):
            rows = window_rows(tokens, pieces, some)
            logits = self.run.logits(rows, pieces.size[some])[:, :-1].float()
            targets = torch.from_numpy(rows[:, 1:].astype(np.int64)).to(logits.device)
            logs = logits.log_softmax(-1).gather(2, targets[..., None])[..., 0].cpu().numpy()
            # A window's first token has nothing before it, and position i predicts residue i + 1.
            row, before = np.nonzero(counted(pieces, some, rows.shape[1])[:, 1:])
            own[pieces.place[some][row] + before + 1] = logs[row, before]
            count(float(pieces.size[some].sum()))

    def _masked(
        self, tokens: Tokens, pieces: Windows, own: Floats, marginals: Floats | None, count: Count
    ) -> None:
        passes = self._passes(pieces)
        window = np.repeat(np.arange(len(passes)), passes)
        number = np.arange(len(window)) - (np.cumsum(passes) - passes)[window]
        for some in batches(pieces.size[window], self.run.device.type):
            own_window, turn = window[some], number[some]
            rows = window_rows(tokens, pieces, own_window)
            if self.fast:
                masked = np.zeros(rows.shape, np.bool_)
                for i, (w, k) in enumerate(zip(own_window, turn, strict=True)):
                    n = int(pieces.residues[w])
                    begin = int(pieces.before[w])
                    masked[i, begin : begin + n] = _turns(n, int(passes[w])) == k
            else:
                masked = np.arange(rows.shape[1]) == (pieces.first[own_window] + turn)[:, None]
            row, column = np.nonzero(masked & counted(pieces, own_window, rows.shape[1]))
            logits = self.run.logits(
                np.where(masked, np.uint8(MASK), rows), pieces.size[own_window]
            )
            logs = logits[torch.from_numpy(row), torch.from_numpy(column)].float().log_softmax(-1)
            logs = logs.cpu()
            place = pieces.place[own_window][row] + column
            targets = torch.from_numpy(rows[row, column].astype(np.int64))
            own[place] = logs.gather(1, targets[:, None])[:, 0].numpy()
            if marginals is not None:
                marginals[place] = logs[:, _STANDARD_IDS].numpy()
            count(float(pieces.size[own_window].sum()))


@lru_cache(maxsize=4096)
def _turns(residues: int, passes: int) -> Ints:
    """In which of the passes each residue is masked: at random, the same for every sequence of the
    length, so that a score depends on nothing but the sequence.
    """
    return np.random.default_rng((residues, passes)).permutation(residues) % passes


def mean_nll(own: Floats, lengths: Ints) -> NDArray[np.float64]:
    """Mean nats per residue of sequences of these lengths from their residues' log-probabilities.

    Residues without one (NaN) do not count; NaN where none has one.
    """
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    known = np.isfinite(own)
    nats = np.bincount(sequence[known], -own[known].astype(np.float64), len(lengths))
    n = np.bincount(sequence[known], minlength=len(lengths))
    return np.where(n > 0, nats / np.maximum(n, 1), np.nan)


@contextmanager
def clm_scorer(folder: Path, threads: int) -> Iterator[Scorer]:
    """A finished CLM run as a reference model (`plm_scaling.filter.reference.ReferenceModel`).

    Raises `InferenceError` for an MLM, whose scores would take a pass for each residue.
    """
    with open_run(folder, threads) as run:
        if run.cell.objective != "clm":
            raise InferenceError(
                f"{folder} is an {run.cell.objective.upper()} run: only a causal model gives every "
                "residue a probability in one pass; take a CLM run"
            )
        yield Scorer(run)
