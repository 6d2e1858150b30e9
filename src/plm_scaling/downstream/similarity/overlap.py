"""What the test set of a supervised benchmark shares with its own training set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DedupError
from plm_scaling.downstream.similarity.identity import COVERAGE, best_identities

IDENTITY = 0.5  # from which two sequences are homologues, as the split's default is


@dataclass(frozen=True)
class Overlap:
    """Of `tested` sequences, how many the training set has (`exact`), and how many others have a
    homologue in it (`homologous`; None: not searched, `note` says why)."""

    tested: int
    exact: int
    homologous: int | None
    note: str = ""

    def __str__(self) -> str:
        text = f"of {self.tested} test sequences {self.exact} are in the training set"
        if self.homologous is None:
            return f"{text}, homologues were not searched ({self.note})"
        share = f"≥ {100 * IDENTITY:g} % over {100 * COVERAGE:g} %"
        return f"{text}, {self.homologous} others have a homologue there ({share})"


def find_overlap(
    train: Sequence[str], test: Sequence[str], counts: Counts, dataset: str, out: Path
) -> dict[str, object]:
    """Search the test sequences in the training ones; add what was found to `counts`, and return
    it for task.json, in the folder `out`."""
    exact = {*train}.intersection(test)
    others = [sequence for sequence in test if sequence not in exact]
    n_exact = len(test) - len(others)
    first = {len(sequence): sequence for sequence in reversed(train)}
    alike = np.array([_alike(one, first.get(len(one))) for one in others], bool)
    try:
        left = [one for one, hit in zip(others, alike, strict=True) if not hit]
        alike[~alike] = np.isfinite(best_identities(left, train, out / "overlap", IDENTITY))
        overlap = Overlap(len(test), n_exact, int(alike.sum()))
        residues = sum(len(one) for one, hit in zip(others, alike, strict=True) if hit)
        counts.add(dataset, "handled:test_homologous_to_train", int(alike.sum()), residues)
    except DedupError as error:
        overlap = Overlap(len(test), n_exact, None, str(error).split(";")[0])
    counts.add(
        dataset, "handled:test_in_train", n_exact, sum(len(one) for one in test if one in exact)
    )
    return asdict(overlap)


def _alike(one: str, other: str | None) -> bool:
    """Whether two sequences of one length are homologues letter by letter, as variants of a protein
    are: no search is needed, which would align each with all others."""
    if other is None:
        return False
    letters = np.frombuffer((one + other).encode(), np.uint8).reshape(2, -1)
    return bool((letters[0] == letters[1]).mean() >= IDENTITY)
