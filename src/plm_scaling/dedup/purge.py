"""Drop homologues of downstream tests from training, and of training from what is held out."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from plm_scaling.dedup.arrays import new_array, open_array
from plm_scaling.dedup.assign import CODE, OOD, TRAIN, VALID
from plm_scaling.dedup.homology import TEMPORARY_BYTES, Criteria, find_homologues
from plm_scaling.dedup.pool import PROTEIN, Pool, PoolPart
from plm_scaling.dedup.pooling import pool_part
from plm_scaling.dedup.selection import Selection, keys_of, span
from plm_scaling.dedup.steps import Steps
from plm_scaling.errors import DedupError
from plm_scaling.parts import part_name

logger = logging.getLogger("plm_scaling")

# Looser than the contamination check, so that what the check could find has been dropped.
PURGE_E_VALUE = 10.0
PURGE_MAX_SEQS = 1000


@dataclass(frozen=True)
class Purge:
    """What the searches of one split share.

    `representative` is the .npy file with the global key of each sequence's representative. With
    `redundant` the training sequences that are searched include those that stand behind one.
    Outcomes are .npy files with a code per sequence, of which those of representatives count.
    """

    steps: Steps
    pool: Pool
    representative: Path
    criteria: Criteria
    redundant: bool

    def drop_downstream(self, outcome: Path, downstream: list[Path]) -> Path:
        """The outcomes without the training sequences that are homologous to downstream tests.

        If a redundant sequence is, its representative goes, and with it all that it stands for.
        A query lists a limited number of candidates, so queries with hits search again in what is
        left, until a round finds nothing.
        """
        tests = Pool.open(
            self.steps.run("downstream", lambda path: pool_downstream(downstream, path)) / PROTEIN
        )
        found = np.ones(tests.n_sequences, bool)
        number = 0
        while found.any():
            number += 1
            outcome, found = self._downstream_round(number, tests, found, outcome)
        return outcome

    def _downstream_round(
        self, number: int, tests: Pool, wanted: np.ndarray, outcome: Path
    ) -> tuple[Path, np.ndarray]:
        name = f"downstream_{number}"
        queries = Selection(tests, lambda part: keys_of(part)[wanted[span(part)]])

        def make(folder: Path) -> None:
            folder.mkdir()
            found = np.zeros(tests.n_sequences, bool)
            left = self._copy(outcome, folder / "outcome.npy")
            representative = open_array(self.representative)
            for query, target in self._search(name, queries, outcome, first_only=False):
                found[query] = True
                left[representative[target]] = CODE["homologous_to_downstream"]
            np.save(folder / "found.npy", found)
            logger.info(
                "[split] %d of %d downstream sequences have training homologues (round %d)",
                *(found.sum(), queries.count(), number),
            )

        folder = self.steps.run(name, make)
        return folder / "outcome.npy", np.load(folder / "found.npy")

    def drop_held_out(self, outcome: Path) -> Path:
        """The outcomes without the validation and ood sequences that have a training homologue."""
        held_out = self.select(outcome, [VALID, OOD], redundant=False)

        def make(path: Path) -> None:
            left = self._copy(outcome, path)
            for query, _ in self._search("purge", held_out, outcome, first_only=True):
                left[query] = CODE["homologous_to_training"]
            logger.info(
                "[split] %d of %d held-out sequences have a training homologue and are dropped",
                *(held_out.count() - self.select(path, [VALID, OOD], False).count(),),
                held_out.count(),
            )

        return self.steps.run("purged.npy", make)

    def select(self, outcome: Path, splits: list[str], redundant: bool) -> Selection:
        """The sequences of some splits: representatives, or with `redundant` all of them."""
        outcomes, representatives = open_array(outcome), open_array(self.representative)
        codes = [CODE[name] for name in splits]

        def keys(part: PoolPart) -> np.ndarray:
            own, head = keys_of(part), representatives[span(part)]
            chosen = np.isin(outcomes[head], codes)
            return own[chosen if redundant else chosen & (head == own)]

        return Selection(self.pool, keys)

    def _search(
        self, name: str, queries: Selection, outcome: Path, first_only: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Keys of queries and of the training sequences that they hit."""
        training = self.select(outcome, [TRAIN], self.redundant)
        n_queries = queries.count()
        if training.count() == 0:
            raise DedupError("no sequence is left for train: lower the fractions of the others")
        with self.steps.temporary(name, TEMPORARY_BYTES * n_queries) as folder:
            query, target = queries.view(folder / "query"), training.view(folder / "target")
            hits = find_homologues(self.steps, query, target, self.criteria, first_only, folder)
            for rows in hits:
                yield rows["query"].to_numpy(), rows["target"].to_numpy()

    def _copy(self, outcome: Path, out: Path) -> np.ndarray:
        copy = new_array(out, self.pool.n_sequences, np.int8)
        copy[:] = open_array(outcome)
        return copy


def pool_downstream(folders: list[Path], out: Path) -> None:
    """Pool the cleaned downstream tests, so that keys stand for their records."""
    parts = len(list(folders[0].glob("part-*.fasta")))
    if parts == 0:
        raise DedupError(f"{folders[0]} holds no cleaned sequences; clean the source first")
    for part in range(parts):
        names = [folder.name for folder in folders]
        pool_part(folders, names, part, parts, PROTEIN, out / PROTEIN / part_name(part))
