"""`plm-scaling judge`: what generated proteins are like, beside natural and shuffled ones."""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from plm_scaling import __version__
from plm_scaling.common.progress import Progress
from plm_scaling.common.tables import check_table, table_writer
from plm_scaling.downstream.generation.files import survey
from plm_scaling.downstream.generation.homology import cluster_sizes, nearest, resources_here
from plm_scaling.downstream.generation.kinds import ORDER, Doubles, counts_per_sequence
from plm_scaling.downstream.generation.measures import Facts
from plm_scaling.downstream.generation.proteins import (
    Proteins,
    generated_proteins,
    shuffled_proteins,
)
from plm_scaling.downstream.generation.rows import SCHEMA, Row, rows_of
from plm_scaling.downstream.generation.training import Training
from plm_scaling.filter import ngram
from plm_scaling.filter.reference import ReferenceModel
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.mmseqs.steps import Steps
from plm_scaling.mmseqs.tool import find_mmseqs
from plm_scaling.sources.read.inputs import readable

FOLDSEEK = "foldseek"  # on PATH


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

    `model` is any model, `ngram` the file of an n-gram model (None: one of the training sequences
    is made). `esmfold` is the folder of a predictor of structures, `structures` one of known
    structures. `resources`: what MMseqs2 may use (None: half of this machine's memory).
    """

    known: Known
    model: str | None = None
    ngram: Path | None = None
    esmfold: Path | None = None
    structures: Path | None = None
    seed: int = 1
    threads: int = 1
    skip_bad: bool = False
    resources: Resources | None = None
    mmseqs: str = "auto"

    @cached_property
    def aligner(self) -> str:
        """What scores structures: the path of Foldseek, or else tmtools; "" where nothing does."""
        if self.esmfold is None or self.structures is None:
            return ""
        return which(FOLDSEEK) or ("tmtools" if find_spec("tmtools") else "")

    def table(self, fasta: Path, out: Path) -> list[Row]:
        """Write the table of measures of the proteins of `fasta` to `out`, and return its rows.

        Killed and started again, it resumes. Raises `SourceError` for records that cannot be used
        (see `Survey`), `InferenceError` for a table of another name or a model that cannot be
        opened, `DedupError` without MMseqs2.
        """
        check_table(out)
        with readable([fasta], "fasta") as files, self.known.opened() as known:
            generated = generated_proteins(files, survey(out, "generated", self.skip_bad))
            sets = self._sets(generated, known, out)
            wanted = np.unique(np.concatenate([proteins.digests for proteins in sets.values()]))
            request = {
                "against": known.state,
                "proteins": {name: _digest(proteins) for name, proteins in sets.items()},
                "esmfold": str(self.esmfold),
            }
            resources = self.resources or resources_here(self.threads)
            with Steps(out, "judge", request, find_mmseqs(self.mmseqs), resources) as steps:
                training = known.training(steps, wanted)
                nats = self._nats(sets, training)
                # One search for all: what it prepares takes longer than a thousand queries.
                every = Proteins([one for own in sets.values() for one in own.sequences])
                edges = np.cumsum([own.count() for own in sets.values()])[:-1]
                found = (np.split(x, edges) for x in nearest(steps, every, training.database))
                near = dict(zip(sets, zip(*found, strict=True), strict=True))
                facts = {
                    name: self._facts(steps, name, own, training, nats[name], near[name])
                    for name, own in sets.items()
                }
                rows = rows_of(sets, facts, training, self.seed, self._missing())
                self._write(rows, known, out)
                steps.remove()
        return rows

    def _sets(self, generated: Proteins, known: Known, out: Path) -> dict[str, Proteins]:
        """The proteins, as many natural ones, and these (or else those) shuffled."""
        sets = {"generated": generated}
        natural = known.natural_proteins(generated.count(), self.seed, out)
        if natural is not None:
            sets["natural"] = natural
        return sets | {"shuffled": shuffled_proteins(sets.get("natural", generated), self.seed)}

    def _nats(
        self, sets: dict[str, Proteins], training: Training
    ) -> dict[str, tuple[Doubles, Doubles | None]]:
        """Nats per residue of each set's proteins by the n-gram model and by the other model."""
        if self.ngram is None:
            by_counts: ReferenceModel = ngram.train(training.counts, ORDER)
        else:
            by_counts = ngram.load_ngram(self.ngram)
        of_ngram = {name: _scored(by_counts, proteins) for name, proteins in sets.items()}
        if self.model is None:
            return {name: (nats, None) for name, nats in of_ngram.items()}
        from plm_scaling.inference.models.open import open_model  # PyTorch, which else none needs
        from plm_scaling.inference.scorer import Scorer

        with open_model(self.model, self.threads) as model:
            scorer = Scorer(model, fast=model.objective == "mlm", amino_acids=True)
            return {name: (of_ngram[name], _scored(scorer, one)) for name, one in sets.items()}

    def _facts(
        self,
        steps: Steps,
        name: str,
        proteins: Proteins,
        training: Training,
        nats: tuple[Doubles, Doubles | None],
        near: tuple[Doubles, ...],
    ) -> Facts:
        _, place, copies = np.unique(proteins.digests, return_inverse=True, return_counts=True)
        plddt, tm_score = None, None
        if self.esmfold is not None:
            from plm_scaling.downstream.generation import foldseek, structures

            plddt, places = structures.predicted(steps, name, proteins, self.esmfold, self.threads)
            if self.structures is not None and self.aligner == "tmtools":
                tm_score = structures.tm_scores(proteins, places, self.structures)
            elif self.structures is not None and self.aligner:
                tm_score = foldseek.foldseek_scores(
                    self.aligner, proteins, places, self.structures, self.threads
                )
        return Facts(
            lengths=proteins.lengths,
            counts=counts_per_sequence(proteins.entries, proteins.lengths),
            copies=copies[place],
            trained=np.isin(proteins.digests, training.seen),
            ngram_nats=nats[0],
            model_nats=nats[1],
            identity=near[0],
            coverage=near[1],
            cluster=cluster_sizes(steps, name, proteins),
            plddt=plddt,
            tm_score=tm_score,
        )

    def _missing(self) -> dict[str, str]:
        """Of measures that cannot be made why not."""
        missing = {"ended": "no FASTA.json of `plm-scaling generate` for as many proteins"}
        if self.model is None:
            missing["model_perplexity"] = "give --model"
        if self.esmfold is None:
            without = "give --esmfold, a folder with ESMFold, to `plm-scaling judge`"
            missing |= dict.fromkeys(("mean_plddt", "plddt_above_70", "mean_tm_score"), without)
        elif self.structures is None:
            missing["mean_tm_score"] = "give --structures, a folder of known structures"
        elif not self.aligner:
            missing["mean_tm_score"] = (
                "neither Foldseek nor TM-align is installed: pip install tmtools"
            )
        return {measure: f"not measured: {why}" for measure, why in missing.items()}

    def _write(self, rows: list[Row], known: Known, out: Path) -> None:
        facts: dict[str, Any] = {"version": __version__, "seed": str(self.seed), **known.facts}
        facts |= {"model": self.model or "", "ngram": str(self.ngram or "")}
        facts |= {"tm_scores_by": Path(self.aligner).name}
        facts |= {"esmfold": str(self.esmfold or ""), "structures": str(self.structures or "")}
        schema = SCHEMA.with_metadata(facts)
        with table_writer(out, schema) as write:
            write(pa.RecordBatch.from_pylist([row._asdict() for row in rows], schema=schema))


def _scored(model: ReferenceModel, proteins: Proteins) -> Doubles:
    """Nats per residue of each protein, chunk by chunk."""
    progress = Progress(f"judge: {model.name or 'n-gram'}", proteins.count(), "proteins")
    nats: list[Doubles] = []
    for chunk in proteins.chunks(model.chunk_residues):
        nats.append(model.nll_per_residue(chunk.entries, chunk.lengths))
        progress.add(chunk.count())
    return np.concatenate(nats)


def _digest(proteins: Proteins) -> str:
    """What the set is, in its order."""
    return hashlib.sha256(proteins.entries).hexdigest()
