"""The average of a score over assays as ProteinGym forms it, and its standard error over proteins.

Assays of one protein and selection type are averaged, then the proteins of a type, then the types:
many assays of one kind do not outweigh the others. Proteins are what is resampled, with all their
assays, as assays of one protein are no independent ones.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from plm_scaling.laws.stats.intervals import Floats, multiplicities


@dataclass(frozen=True)
class Average:
    """Averages of each score (s,) and those of resamples (resamples, s)."""

    value: Floats
    resampled: Floats

    @property
    def standard_error(self) -> Floats:
        """Of each average (s,)."""
        return self.resampled.std(axis=0)

    def difference(self, one: int, other: int) -> tuple[float, float]:
        """`one` less `other` on the same assays, and its standard error."""
        drawn = self.resampled[:, one] - self.resampled[:, other]
        return float(self.value[one] - self.value[other]), float(drawn.std())


def average(
    scores: Floats, protein: "pd.Series[str]", kind: "pd.Series[str]", resamples: int, seed: int
) -> Average:
    """The averages of `scores` (assays, s), NaN where missing; `protein` and `kind` (the selection
    type) are of the assays. What is missing does not count, nor in a resample a type of which it
    draws no protein."""
    means = pd.DataFrame(scores).groupby([kind.to_numpy(), protein.to_numpy()]).mean()
    kinds, proteins = (pd.factorize(means.index.get_level_values(i))[0] for i in (0, 1))
    known, values = means.notna().to_numpy(float), means.fillna(0.0).to_numpy()
    of_kind = np.eye(kinds.max() + 1)[kinds]  # (cells, types)

    def of(weights: Floats) -> Floats:
        """Averages (…, s) where a protein is drawn `weights` (…, proteins) times."""
        drawn = weights[..., proteins]
        total, sums = (
            np.einsum("...c,ct,cs->...ts", drawn, of_kind, part, optimize=True)
            for part in (known, values)
        )
        some = total > 0
        return np.asarray((sums / np.where(some, total, 1)).sum(-2) / some.sum(-2))

    n_proteins = int(proteins.max()) + 1
    return Average(of(np.ones(n_proteins)), of(multiplicities(n_proteins, resamples, seed)))
