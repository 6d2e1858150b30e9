"""`plm-scaling judge`: what generated proteins are like, beside natural and shuffled ones."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from plm_scaling import __version__
from plm_scaling.common.tables import check_table, table_writer
from plm_scaling.downstream.generation.by_models.measured import ByModels, Measured
from plm_scaling.downstream.generation.by_models.others import NO_MODELS
from plm_scaling.downstream.generation.by_models.perplexity import nats_of
from plm_scaling.downstream.generation.counts import ORDER, Doubles, counts_per_sequence
from plm_scaling.downstream.generation.homology import cluster_sizes, nearest, resources_here
from plm_scaling.downstream.generation.known.files import survey
from plm_scaling.downstream.generation.known.training import Training
from plm_scaling.downstream.generation.measures import Facts
from plm_scaling.downstream.generation.proteins import (
    GENERATED,
    NATURAL,
    SHUFFLED,
    Proteins,
    generated_proteins,
    shuffled_proteins,
)
from plm_scaling.downstream.generation.rows import SCHEMA, Row, rows_of
from plm_scaling.filter import ngram
from plm_scaling.filter.reference import ReferenceModel
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.sources.read.inputs import readable

MISSING = {"ended": "no FASTA.json of `plm-scaling generate` for as many proteins"}
"""Of a measure why it has no value."""


class Known(Protocol):
    """What proteins are compared with: `Files`, or the `StudyData` of the models."""

    def opened(self) -> AbstractContextManager["Known"]:
        """What can be read, while the context lasts."""

    @property
    def facts(self) -> dict[str, str]:
        """What the table says of it."""

    @property
    def state(self) -> Any:
        """What says that training is the same as at an earlier attempt, in JSON values."""

    def natural_proteins(self, number: int, seed: int, out: Path) -> Proteins | None:
        """`number` held-out proteins, drawn by `seed`; None where there are none."""

    def training(self, steps: Steps, wanted: np.ndarray) -> Training:
        """The training sequences; `wanted` are the digests to look for among them."""


@dataclass(frozen=True)
class Judge:
    """What proteins are compared with, and how their table is made.

    `ngram` is the file of an n-gram model (None: one of the training sequences is made),
    `resources` what MMseqs2 may use (None: half of this machine's memory).
    """

    known: Known
    by_models: ByModels = NO_MODELS
    ngram: Path | None = None
    seed: int = 1
    threads: int = 1
    skip_bad: bool = False
    resources: Resources | None = None
    mmseqs: str = "auto"

    def table(self, fasta: Path, out: Path) -> list[Row]:
        """Write the table of measures of the proteins of `fasta` to `out`, and return its rows.

        Killed and started again, it resumes. Raises `SourceError` for records that cannot be used
        (see `Survey`), `InferenceError` for a table of another name or a model that cannot be
        opened, `DedupError` without MMseqs2.
        """
        check_table(out)
        by_counts = None if self.ngram is None else ngram.load_ngram(self.ngram)
        with readable([fasta], "fasta") as files, self.known.opened() as known:
            generated = generated_proteins(files, survey(out, GENERATED, self.skip_bad))
            sets = self._sets(generated, known, out)
            wanted = np.unique(np.concatenate([proteins.digests for proteins in sets.values()]))
            request = {
                "against": known.state,
                "proteins": {name: proteins.fingerprint for name, proteins in sets.items()},
            }
            resources = self.resources or resources_here(self.threads)
            with Steps(out, "judge", request, find_mmseqs(self.mmseqs), resources) as steps:
                training = known.training(steps, wanted)
                by_models = {name: self._measured(steps, name, own) for name, own in sets.items()}
                # One search for all: what it prepares takes longer than a thousand queries.
                every = Proteins([one for own in sets.values() for one in own.sequences])
                edges = np.cumsum([own.count() for own in sets.values()])[:-1]
                found = (np.split(x, edges) for x in nearest(steps, every, training.database))
                near = dict(zip(sets, zip(*found, strict=True), strict=True))
                by_counts = by_counts or ngram.train(training.counts, ORDER)
                facts = {
                    name: _facts(steps, name, own, training, by_counts, by_models[name], near[name])
                    for name, own in sets.items()
                }
                missing = {**MISSING, **by_models[GENERATED].missing}
                rows = rows_of(sets, facts, training, self.seed, missing)
                self._write(rows, {**known.facts, **by_models[GENERATED].facts}, out)
                steps.remove()
        return rows

    def _sets(self, generated: Proteins, known: Known, out: Path) -> dict[str, Proteins]:
        """The proteins, as many natural ones, and these (or else those) shuffled."""
        sets = {GENERATED: generated}
        natural = known.natural_proteins(generated.count(), self.seed, out)
        if natural is not None:
            sets[NATURAL] = natural
        return sets | {SHUFFLED: shuffled_proteins(sets.get(NATURAL, generated), self.seed)}

    def _measured(self, steps: Steps, name: str, proteins: Proteins) -> Measured:
        """By other models. Structures have a file of their own, which other steps that fail, or
        are asked for differently, leave there."""
        kept = steps.folder / f"structures_{name}.npz"
        by = hashlib.sha256(json.dumps({**self.by_models.facts}).encode()).hexdigest()[:12]

        def make(path: Path) -> None:
            self.by_models.measured(proteins, name, kept).save(path, proteins)

        return Measured.load(steps.run(f"by_models_{name}.{by}.npz", make), proteins)

    def _write(self, rows: list[Row], facts: Mapping[str, str], out: Path) -> None:
        made = {"version": __version__, "seed": str(self.seed), "ngram": str(self.ngram or "")}
        schema = SCHEMA.with_metadata({**made, **facts})
        with table_writer(out, schema) as write:
            write(pa.RecordBatch.from_pylist([row._asdict() for row in rows], schema=schema))


def _facts(
    steps: Steps,
    name: str,
    proteins: Proteins,
    training: Training,
    by_counts: ReferenceModel,
    by_models: Measured,
    near: tuple[Doubles, ...],
) -> Facts:
    _, place, copies = np.unique(proteins.digests, return_inverse=True, return_counts=True)
    return Facts(
        lengths=proteins.lengths,
        counts=counts_per_sequence(proteins.entries, proteins.lengths),
        copies=copies[place],
        trained=np.isin(proteins.digests, training.seen),
        ngram_nats=nats_of(by_counts, proteins),
        model_nats=by_models.nats,
        identity=near[0],
        coverage=near[1],
        cluster=cluster_sizes(steps, name, proteins),
        plddt=by_models.plddt,
        tm_score=by_models.tm_score,
    )
