"""Log-probabilities of the residues of protein sequences, by a model of either objective.

A causal model (CLM) gives them all in one pass, each after what precedes it; without a token in
front the first residue has nothing to be predicted from. A masked model (MLM) gives that of a
residue when it is masked: one at a time, as many passes as residues (pseudo-log-likelihood, Salazar
et al. 2020; the pseudo-perplexity of ESM-2, Lin et al. 2023; the masked marginals of Meier et al.
2021), or, `fast`, as many at a time as in training. One pass without masks (wild-type marginals)
would be faster still, but at positions that are not masked a model has learnt nothing, unless it
was trained with `masking: study` or `bert`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from plm_scaling.common.errors import InferenceError
from plm_scaling.inference.arrays import Count, Floats, Ints, Tokens
from plm_scaling.inference.models.describe import describe
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.open import open_model
from plm_scaling.inference.models.windows import Windows, batches, counted, window_rows
from plm_scaling.tokens.format.vocabulary import STANDARD

CHUNK_RESIDUES = 1 << 18  # enough sequences for batches of nearly equal length


@dataclass(frozen=True)
class Scorer:
    """Scores with a model; `fast` as above.

    Probabilities are over all that the model can predict, as in the losses of training or, with
    `amino_acids`, over the 20 amino acids alone (their logits renormalised, as ProGen2 is scored;
    Nijkamp et al. 2023), so that models with other vocabularies compare: what another letter or the
    end would have got is no loss then. A letter that the model does not know has no probability,
    with `amino_acids` no letter but those has. Only residues count, never what stands around them.
    Sequences of nearly equal length share a batch, one to a row; a score depends on its neighbours
    only by rounding. One longer than the context is read in overlapping windows (`windows`).
    """

    model: Model
    fast: bool = False
    amino_acids: bool = False
    chunk_residues: int = CHUNK_RESIDUES

    @cached_property
    def name(self) -> str:
        """The model and its weights, to the last bit."""
        return f"{self.model.name} {self.model.weights_sha256[:12]}"

    def nll_per_residue(self, chunk: bytes, lengths: Ints) -> NDArray[np.float64]:
        """Mean nats per residue of each sequence of a chunk of database entries `SEQUENCE\\n\\0`;
        NaN for a sequence of which no residue has a probability."""
        return mean_nll(self.scores(chunk, lengths)[0], lengths)

    def work(self, lengths: Ints) -> Ints:
        """Tokens that pass through the model to score each sequence of these lengths."""
        pieces = self.model.windows(lengths)
        return pieces.of_sequences(pieces.size * self._passes(pieces))

    def scores(
        self,
        chunk: bytes,
        lengths: Ints,
        marginals: bool = False,
        count: Count = lambda tokens: None,
    ) -> tuple[Floats, Floats | None]:
        """Log-probabilities (nats) of the residues of a chunk of database entries, in order.

        [residues] of those that are there, NaN for those without (see above); and of an MLM, if
        `marginals`, [residues, 20] of the amino acids in the order of `STANDARD`.
        """
        tokens, pieces = self.model.tokens(chunk), self.model.windows(lengths)
        own = np.full(int(lengths.sum()), np.nan, np.float32)
        if self.model.objective == "clm":
            self._causal(tokens, pieces, own, count)
            return own, None
        of_all = np.full((len(own), len(STANDARD)), np.nan, np.float32) if marginals else None
        self._masked(tokens, pieces, own, of_all, count)
        return own, of_all

    def _passes(self, pieces: Windows) -> Ints:
        if self.model.objective == "clm":
            return np.ones_like(pieces.size)
        if not self.fast:
            return pieces.last - pieces.first
        self.model.check_fast()
        assert self.model.mask_ratio is not None  # checked
        return np.minimum(pieces.residues, max(1, round(1 / self.model.mask_ratio)))

    def _logs(self, logits: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (fp32) over the last axis of logits."""
        logits = logits.float()
        if self.amino_acids:
            others = torch.ones(logits.shape[-1], dtype=torch.bool)
            others[torch.from_numpy(self.model.alphabet.residues)] = False
            logits = logits.masked_fill(others.to(logits.device), float("-inf"))
        return logits.log_softmax(-1)

    def _causal(self, tokens: Tokens, pieces: Windows, own: Floats, count: Count) -> None:
        for some in batches(pieces.size, self.model.device.type):
            rows = window_rows(tokens, pieces, some)
            logits = self.model.logits(rows, pieces.size[some])[:, :-1]
            targets = torch.from_numpy(rows[:, 1:].astype(np.int64)).to(logits.device)
            found = self._logs(logits).gather(2, targets[..., None])[..., 0].cpu().numpy()
            logs = self._known(found, rows[:, 1:])
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
        for some in batches(pieces.size[window], self.model.device.type):
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
            alphabet = self.model.alphabet
            assert alphabet.mask is not None  # of an MLM
            logits = self.model.logits(
                np.where(masked, np.uint8(alphabet.mask), rows), pieces.size[own_window]
            )
            logs = self._logs(logits[torch.from_numpy(row), torch.from_numpy(column)]).cpu()
            place = pieces.place[own_window][row] + column
            targets = rows[row, column]
            found = logs.gather(1, torch.from_numpy(targets.astype(np.int64))[:, None])
            own[place] = self._known(found[:, 0].numpy(), targets)
            if marginals is not None:
                marginals[place] = logs[:, torch.from_numpy(alphabet.residues)].numpy()
            count(float(pieces.size[own_window].sum()))

    def _known(self, logs: Floats, targets: Tokens) -> Floats:
        """NaN for letters that have no probability."""
        unknown = (targets == self.model.alphabet.other) | np.isneginf(logs)
        return np.where(unknown, np.float32(np.nan), logs)


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
def clm_scorer(model: str, threads: int) -> Iterator[Scorer]:
    """A CLM (see `open_model`) as a reference model (`plm_scaling.filter.reference`).

    Raises `InferenceError` for an MLM, whose scores would take a pass for each residue.
    """
    objective = describe(model)[1].objective
    if objective != "clm":
        raise InferenceError(
            f"{model} is an {objective.upper()}: only a causal model gives every residue a "
            "probability in one pass; take a CLM"
        )
    with open_model(model, threads) as opened:
        yield Scorer(opened)
