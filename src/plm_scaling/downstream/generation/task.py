"""Proteins that the causal models of a study make, and their scores beside natural ones."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from plm_scaling.common.files import read_json, write_json
from plm_scaling.common.progress import logger
from plm_scaling.config.downstream import Drawn
from plm_scaling.downstream import STAGE_VERSION
from plm_scaling.downstream.generation.by_models.measured import Saved
from plm_scaling.downstream.generation.by_models.others import OtherModels
from plm_scaling.downstream.generation.judge import Judge
from plm_scaling.downstream.generation.known.files import survey
from plm_scaling.downstream.generation.known.study import StudyData
from plm_scaling.downstream.generation.proteins import (
    GENERATED,
    NATURAL,
    SHUFFLED,
    generated_proteins,
    shuffled_proteins,
)
from plm_scaling.downstream.generation.rows import Row
from plm_scaling.downstream.models import facts_of
from plm_scaling.downstream.scores import Score
from plm_scaling.inference.generation.options import Sampling, about
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.runs.scores import JUDGED

PROTOCOL = "sampled"


def generate_proteins(
    model: str, settings: Drawn, pool: Path, split: Path, seed: int, threads: int, out: Path
) -> None:
    """Write proteins that a causal model makes, as FASTA; OUT.json says how.

    A model without start token begins with the first residues of training sequences.

    Args:
        model: a run folder, or that of a public model
        settings: how proteins are drawn, in JSON
        pool: folder with all pooled parts
        split: folder made by split_clusters.py
        seed: of the draws
        threads: CPU threads
        out: FASTA file
    """
    from plm_scaling.inference.generation.generate import First, shares_of, write_proteins
    from plm_scaling.inference.models.open import open_model

    with open_model(model, threads) as opened:
        first = None
        if opened.alphabet.start is None and not opened.alphabet.row_prefix:
            residues = StudyData(pool, split).first_residues()
            first = First(shares_of(residues, f"{split}: no training sequence"), [str(split)])
        write_proteins(opened, out, Sampling(**settings.model_dump(), seed=seed), first)


def measure_proteins(
    proteins: str,
    number: int,
    pool: Path,
    split: Path,
    seed: int,
    threads: int,
    out: Path,
    perplexity_by: str | None = None,
    esmfold: Path | None = None,
    structures: Path | None = None,
) -> None:
    """Write what other models say of proteins (`Measured`); what cannot be measured is missing,
    with its reason. Beside it stay the predicted structures (.structures.npz), so that another
    measure does not predict them again.

    Args:
        proteins: FASTA file that generate_proteins.py made, or natural or shuffled: held-out
            proteins, as judge_proteins.py draws them
        number: of proteins in the FASTA file
        pool: folder with all pooled parts
        split: folder made by split_clusters.py
        seed: of what is drawn and shuffled
        threads: CPU threads
        out: file, .npz
        perplexity_by: a model, whose perplexity is measured
        esmfold: folder of ESMFold, which predicts structures
        structures: folder of known structures, which these are compared with
    """
    if proteins in (NATURAL, SHUFFLED):
        own = StudyData(pool, split).natural_proteins(number, seed, out)
        own = shuffled_proteins(own, seed) if proteins == SHUFFLED else own
    else:
        own = generated_proteins([Path(proteins)], survey(out, GENERATED, skip_bad=False))
    by = OtherModels(perplexity_by, esmfold, structures, threads, lenient=True)
    kept = out.with_suffix("").with_suffix(".structures.npz")
    measured = by.measured(own, proteins, kept)
    measured.save(out, own)
    asked = [name for name in ("model", "esmfold", "structures") if by.facts[name]]
    logger.info("[downstream] %d proteins by %s: %s", own.count(), ", ".join(asked), out)


def judge_proteins(
    proteins: Path,
    model: str,
    pool: Path,
    split: Path,
    seed: int,
    resources: Resources,
    mmseqs: str,
    out: Path,
    measured: Sequence[Path] = (),
) -> None:
    """Judge the proteins that a model made against a study's training set, beside as many held-out
    proteins, and these shuffled: the table `out` (.tsv), and a record of scores (.json).

    In the record the floor of a measure is its value for shuffled proteins, the reference that for
    natural ones.

    Args:
        proteins: FASTA file that generate_proteins.py made
        model: the folder of the model
        pool: folder with all pooled parts
        split: folder made by split_clusters.py
        seed: of what is drawn, shuffled and resampled
        mmseqs: path of MMseqs2, or auto
        out: the table, .tsv
        measured: files of measure_proteins.py, of the proteins, natural and shuffled ones
    """
    known = StudyData(pool, split)
    threads = resources.threads
    by_models = Saved(dict(zip((GENERATED, NATURAL, SHUFFLED), measured, strict=False)))
    judge = Judge(known, by_models, seed=seed, threads=threads, resources=resources, mmseqs=mmseqs)
    rows = judge.table(proteins, out)
    made = read_json(about(proteins))
    told = {name: str(value) for name, value in made.items()}
    record = {
        "model": facts_of(model, told),
        "dataset": JUDGED,
        "task": JUDGED,
        "seed": seed,
        "weights_sha256": made["weights"],
        "versions": {"downstream stage": str(STAGE_VERSION)},
        "settings": {name: made[name] for name in Drawn.model_fields if name in made},
        "scores": [asdict(_score(row, made["proteins"])) for row in rows],
    }
    write_json(out.with_suffix(".json"), record)
    logger.info("[downstream] %s, %d proteins: %s", model, made["proteins"], out)


def _score(row: Row, number: int) -> Score:
    return Score(
        protocol=PROTOCOL,
        metric=row.measure,
        value=row.generated,
        standard_error=row.generated_error,
        n_items=number,
        n_groups=number,
        floor=row.shuffled,
        reference=row.natural,
        note=row.note,
    )
