"""What a model that saw no assay says of mutants: differences of log-probabilities, in nats.

A causal model gives the log-likelihood of the mutant less that of the wild type (`llr`), summed
over the residues; the first has none without a start token. What mutants have in common with the
wild type before their first change is read once, where the model allows it. A masked model gives,
summed over the changes, ln p(mutant) − ln p(wild type) at the changed position in the wild type,
where that is masked (`masked_marginals`) or not (`wild_type_marginals`; Meier et al. 2021).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plm_scaling.downstream.fitness.mutants import changes
from plm_scaling.downstream.fitness.protocols import LIKELIHOOD, MASKED, PER_RESIDUE, UNMASKED
from plm_scaling.inference.fasta import chunked, entries_of
from plm_scaling.inference.models.model import Model
from plm_scaling.inference.models.windows import batches, counted, window_rows
from plm_scaling.inference.scoring.scorer import Scorer
from plm_scaling.inference.scoring.shared_prefix import log_likelihoods, shares_prefixes
from plm_scaling.tokens.format.vocabulary import STANDARD

_PLACE = {letter: place for place, letter in enumerate(STANDARD)}
SHARING_RESIDUES = 1 << 22  # whose log-probabilities are held at a time
Values = NDArray[np.float64]


@dataclass
class ZeroShot:
    """Scores of mutants by one model. Assays of one wild type share its marginals."""

    model: Model

    def __post_init__(self) -> None:
        self._scorer = Scorer(self.model)
        self._marginals: tuple[str, dict[str, Values]] = ("", {})

    def scores(
        self, wild_type: str, mutants: Sequence[str], sequences: Sequence[str], indels: bool
    ) -> dict[str, Values]:
        """Scores [mutants] by protocol, higher for what the model holds for fitter."""
        if self.model.objective == "mlm":
            own = [changes(mutant) for mutant in mutants]
            return {
                name: np.array(
                    [
                        sum(
                            logs[at - 1, _PLACE[new]] - logs[at - 1, _PLACE[old]]
                            for old, at, new in one
                        )
                        for one in own
                    ]
                )
                for name, logs in self._of_wild_type(wild_type).items()
            }
        if shares_prefixes(self.model, max(map(len, [wild_type, *sequences]))):
            chunks = chunked(sequences, SHARING_RESIDUES)
            found = [log_likelihoods(self.model, wild_type, some) for some in chunks]
            wild, nats = found[0][0], np.concatenate([one[1:] for one in found])
        else:
            wild, *others = self._log_likelihoods([wild_type, *sequences])
            nats = np.array(others)
        scores = {LIKELIHOOD: nats - wild}
        if indels:
            lengths = np.array([len(sequence) for sequence in sequences])
            scores[PER_RESIDUE] = nats / lengths - wild / len(wild_type)
        return scores

    def _log_likelihoods(self, sequences: Sequence[str]) -> Iterator[float]:
        """Nats of each sequence, over the residues that have a probability."""
        for chunk in chunked(sequences, self._scorer.chunk_residues):
            entries, lengths = entries_of(chunk)
            own, _ = self._scorer.scores(entries, lengths)
            known = np.nan_to_num(own.astype(np.float64))
            yield from np.add.reduceat(known, np.cumsum(lengths) - lengths)

    def _of_wild_type(self, wild_type: str) -> dict[str, Values]:
        """Log-probabilities [residues, 20] by protocol."""
        if self._marginals[0] != wild_type:
            entry, lengths = entries_of([wild_type])
            _, masked = self._scorer.scores(entry, lengths, marginals=True)
            assert masked is not None
            self._marginals = (
                wild_type,
                {MASKED: masked.astype(np.float64), UNMASKED: self._unmasked(entry, lengths)},
            )
        return self._marginals[1]

    def _unmasked(self, entry: bytes, lengths: NDArray[np.int64]) -> Values:
        tokens, pieces = self.model.tokens(entry), self.model.windows(lengths)
        ids = self.model.alphabet.residues
        found = np.full((int(lengths.sum()), len(STANDARD)), np.nan)
        for some in batches(pieces.size, self.model.device.type):
            rows = window_rows(tokens, pieces, some)
            logs = self.model.logits(rows, pieces.size[some]).float().log_softmax(-1)[..., ids]
            row, column = np.nonzero(counted(pieces, some, rows.shape[1]))
            found[pieces.place[some][row] + column] = logs.cpu().numpy()[row, column]
        return found
