"""Proteins that the causal models of a study make, and their scores beside natural ones."""

from dataclasses import asdict
from pathlib import Path

from plm_scaling.common.files import read_json, write_json
from plm_scaling.common.progress import logger
from plm_scaling.config.downstream import Generation
from plm_scaling.downstream import STAGE_VERSION
from plm_scaling.downstream.generation.judge import Judge
from plm_scaling.downstream.generation.rows import Row
from plm_scaling.downstream.generation.study import StudyData
from plm_scaling.downstream.models import facts_of
from plm_scaling.downstream.scores import Score
from plm_scaling.inference.generation.options import Sampling, about
from plm_scaling.mmseqs.resources import Resources
from plm_scaling.runs.scores import JUDGED

PROTOCOL = "sampled"


def generate_proteins(
    model: str, settings: Generation, pool: Path, split: Path, seed: int, threads: int, out: Path
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

    how = settings.model_dump(exclude={"cells"})
    with open_model(model, threads) as opened:
        first = None
        if opened.alphabet.start is None and not opened.alphabet.row_prefix:
            residues = StudyData(pool, split).first_residues()
            first = First(shares_of(residues, f"{split}: no training sequence"), [str(split)])
        write_proteins(opened, out, Sampling(**how, seed=seed), first)


def judge_proteins(
    proteins: Path,
    model: str,
    pool: Path,
    split: Path,
    seed: int,
    resources: Resources,
    mmseqs: str,
    out: Path,
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
    """
    known = StudyData(pool, split)
    threads = resources.threads
    judge = Judge(known, seed=seed, threads=threads, resources=resources, mmseqs=mmseqs)
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
        "settings": {name: made[name] for name in Generation.model_fields if name in made},
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
