"""Keep training apart from what is held out: of two homologues across the line, one is dropped."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from plm_scaling.common.errors import DedupError
from plm_scaling.common.parts import part_name
from plm_scaling.dedup.assign import CODE, OF_REDUNDANT, OOD, TRAIN, VALID
from plm_scaling.dedup.coverage import Coverage
from plm_scaling.dedup.residues import Residues
from plm_scaling.mmseqs.homology import TEMPORARY_BYTES, Criteria, find_homologues
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.pool.arrays import new_array, open_array
from plm_scaling.pool.read import Pool, PoolPart
from plm_scaling.pool.selection import Selection, keys_of, of_keys, span
from plm_scaling.pool.write import pool_part
from plm_scaling.sources.table import PROTEIN

logger = logging.getLogger("plm_scaling")

# Looser than the contamination check: only what its higher sensitivity finds is left.
PURGE_E_VALUE = 10.0
PURGE_MAX_SEQS = 1000
EMPTY = np.empty(0, np.int64)


@dataclass(frozen=True)
class Purge:
    """What the searches of one split share.

    `representative` is the .npy file with the global key of each sequence's representative.
    Outcomes are .npy files with a code per sequence, of which those of representatives count until
    `drop_redundant`. Representatives are settled first, and among themselves: the held-out sets do
    not depend on redundant sequences.
    """

    steps: Steps
    pool: Pool
    representative: Path
    criteria: Criteria
    cumulative: bool

    def pooled_tests(self, downstream: Sequence[Path]) -> Pool:
        """The downstream tests, pooled, so that keys stand for their records."""
        folder = self.steps.run("downstream", lambda path: pool_downstream(downstream, path))
        return Pool.open(folder / PROTEIN)

    def drop_downstream(self, outcome: Path, tests: Pool) -> Path:
        """The outcomes without the training representatives that are homologous to `tests`."""
        queries = Selection(tests, keys_of)
        return self._drop_training(
            "downstream", queries, outcome, self._training, "homologous_to_downstream"
        )

    def drop_held_out(self, outcome: Path) -> Path:
        """The outcomes without the validation and ood representatives that training covers: one
        sequence or, where the purge is cumulative, several together."""
        held_out = self.representatives(outcome, [VALID, OOD])

        def make(path: Path) -> None:
            left = self._copy(outcome, path)
            left[self._covered(held_out, self._training(outcome))] = CODE["homologous_to_training"]
            logger.info(
                "[split] %d of %d held-out sequences have a training homologue and are dropped",
                held_out.count() - self.representatives(path, [VALID, OOD]).count(),
                held_out.count(),
            )

        return self.steps.run("purged.npy", make)

    def _covered(self, held_out: Selection, training: Selection) -> np.ndarray:
        """The keys of the held-out sequences that training covers."""
        if not self.cumulative:
            hits = self._search("purge", held_out, training, self.criteria, first_only=True)
            return np.concatenate([EMPTY, *(rows["query"].to_numpy() for rows in hits)])
        own = Residues.of(held_out)
        coverage = Coverage(own, self.criteria.min_seq_id, self.criteria.coverage)
        any_length = replace(self.criteria, coverage=0)
        for rows in self._search("purge", held_out, training, any_length, first_only=False):
            coverage.add(rows)
        return own.keys[coverage.together()]

    def drop_redundant(self, outcome: Path, tests: Pool | None) -> Path:
        """The outcomes of all sequences.

        A redundant one has that of its representative, but is dropped from training if it is
        homologous itself to what is held out (homologous_to_held_out) or to `tests`.
        """
        followed = self.steps.run("followed.npy", lambda path: self._follow(outcome, path))
        held_out = self.representatives(followed, [VALID, OOD])
        left = self._drop_training("redundant", held_out, followed, self._redundant, OF_REDUNDANT)
        if tests is None:
            return left
        queries = Selection(tests, keys_of)
        return self._drop_training(
            "redundant_downstream", queries, left, self._redundant, "homologous_to_downstream"
        )

    def representatives(self, outcome: Path, splits: list[str]) -> Selection:
        """The representatives of some splits."""
        return self._select(outcome, splits, np.equal)

    def everything(self, outcome: Path) -> Selection:
        """Representatives and redundant sequences of training, after `drop_redundant`."""
        return self._select(outcome, [TRAIN], lambda head, own: np.ones(len(own), bool))

    def _training(self, outcome: Path) -> Selection:
        return self.representatives(outcome, [TRAIN])

    def _redundant(self, outcome: Path) -> Selection:
        return self._select(outcome, [TRAIN], np.not_equal)

    def _select(
        self,
        outcome: Path,
        splits: list[str],
        which: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> Selection:
        """Sequences of some splits; `which` compares the keys of representatives with their own."""
        outcomes, representatives = open_array(outcome), open_array(self.representative)
        codes = [CODE[name] for name in splits]

        def keys(part: PoolPart) -> np.ndarray:
            own = keys_of(part)
            return own[
                np.isin(outcomes[span(part)], codes) & which(representatives[span(part)], own)
            ]

        return Selection(self.pool, keys)

    def _drop_training(
        self,
        name: str,
        queries: Selection,
        outcome: Path,
        targets: Callable[[Path], Selection],
        reason: str,
    ) -> Path:
        """The outcomes without the `targets` that are homologous to a query.

        A query lists a limited number of candidates, so queries with hits search again in what is
        left, until a round finds nothing.
        """
        number = 0
        while queries.count():
            number += 1
            folder = self._round(f"{name}_{number}", queries, outcome, targets(outcome), reason)
            outcome = folder / "outcome.npy"
            queries = of_keys(queries.pool, np.load(folder / "found.npy"))
        return outcome

    def _round(
        self, name: str, queries: Selection, outcome: Path, targets: Selection, reason: str
    ) -> Path:
        def make(folder: Path) -> None:
            folder.mkdir()
            found = [EMPTY]
            left = self._copy(outcome, folder / "outcome.npy")
            for rows in self._search(name, queries, targets, self.criteria, first_only=False):
                found.append(np.unique(rows["query"].to_numpy()))
                left[rows["target"].to_numpy()] = CODE[reason]
            hit = np.unique(np.concatenate(found))
            np.save(folder / "found.npy", hit)
            dropped = np.count_nonzero(left != open_array(outcome))
            logger.info(
                "[split] %s: %s of %s training sequences dropped, homologues of %s of %s sequences",
                name.replace("_", " "),
                *(f"{n:,}" for n in (dropped, targets.count(), len(hit), queries.count())),
            )

        return self.steps.run(name, make)

    def _search(
        self,
        name: str,
        queries: Selection,
        targets: Selection,
        criteria: Criteria,
        first_only: bool,
    ) -> Iterator[pa.RecordBatch]:
        """The hits, see `find_homologues`."""
        n_queries = queries.count()
        if targets.count() == 0:
            return
        with self.steps.temporary(name, TEMPORARY_BYTES * n_queries) as folder:
            query, target = queries.view(folder / "query"), targets.view(folder / "target")
            yield from find_homologues(self.steps, query, target, criteria, first_only, folder)

    def _follow(self, outcome: Path, out: Path) -> None:
        """Give each sequence the outcome of its representative."""
        outcomes, representatives = open_array(outcome), open_array(self.representative)
        followed = new_array(out, self.pool.n_sequences, np.int8)
        for part in self.pool.parts:
            followed[span(part)] = outcomes[representatives[span(part)]]

    def _copy(self, outcome: Path, out: Path) -> np.ndarray:
        copy = new_array(out, self.pool.n_sequences, np.int8)
        copy[:] = open_array(outcome)
        return copy


def pool_downstream(folders: Sequence[Path], out: Path) -> None:
    """Pool the cleaned downstream tests, so that keys stand for their records."""
    parts = len(list(folders[0].glob("part-*.fasta")))
    if parts == 0:
        raise DedupError(f"{folders[0]} holds no cleaned sequences; clean the source first")
    for part in range(parts):
        names = [folder.name for folder in folders]
        pool_part(list(folders), names, part, parts, "protein", out / PROTEIN / part_name(part))
