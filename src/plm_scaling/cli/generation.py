"""`plm-scaling generate` and `judge`: new proteins, and what they are worth."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plm_scaling.cli.options import (
    CORES,
    Json,
    Model,
    NewFile,
    Seed,
    SkipBad,
    Table,
    Threads,
    print_json,
)
from plm_scaling.common.command_line import READS
from plm_scaling.inference.generation.options import SAMPLE, Sampling


def generate(
    model: Model,
    /,
    *,
    out: NewFile,
    sampling: Annotated[Sampling, Parameter(name="*")] = SAMPLE,
    first: list[Path] = [],  # noqa: B006
    json: Json = False,
    threads: Threads = CORES,
) -> None:
    """New proteins, by a causal model.

    Example: plm-scaling generate CELL --number 100 --prompt M --out new.fasta

    Args:
        out: FASTA file; how it was made is said in OUT.json
        first: FASTA whose first residues are drawn from, for models without start token
    """
    from plm_scaling.inference.generation.generate import generate_fasta

    counts = generate_fasta(model, out, sampling, first, threads)
    if json:
        print_json({"out": out, **counts})
        return
    print(f"proteins: {out} ({counts['ended']} of {counts['proteins']} ended by themselves)")


def judge(
    proteins: Annotated[Path, READS],
    /,
    *,
    against: Annotated[list[Path], READS],
    out: Table,
    natural: Annotated[list[Path], READS] = [],  # noqa: B006
    model: str | None = None,
    ngram: Path | None = None,
    esmfold: Path | None = None,
    structures: Path | None = None,
    seed: Seed = 1,
    skip_bad: SkipBad = False,
    json: Json = False,
    threads: Threads = CORES,
) -> None:
    """What generated proteins are like, beside natural and shuffled ones.

    Example: plm-scaling judge new.fasta --against train.fasta --natural valid.fasta --out new.tsv

    Args:
        proteins: FASTA file, - for stdin
        against: FASTA of the sequences that the model was trained on, - for stdin
        natural: FASTA of held-out proteins, for a scale; as many are drawn; - for stdin
        model: a run or other model whose perplexity is measured too
        ngram: an n-gram model (model.npz of the filter) in place of one of the training sequences
        esmfold: folder of ESMFold (transformers, safetensors): structures are predicted
        structures: folder of known structures (PDB, mmCIF) for TM-scores; needs Foldseek or tmtools
        seed: of what is drawn, shuffled and resampled
    """
    from plm_scaling.downstream.generation.by_models.others import OtherModels
    from plm_scaling.downstream.generation.judge import Judge
    from plm_scaling.downstream.generation.known.files import Files
    from plm_scaling.downstream.generation.rows import rows_text

    by_models = OtherModels(model, esmfold, structures, threads)
    by_models.check()  # before minutes of searching
    known = Files(against, natural, skip_bad)
    rows = Judge(known, by_models, ngram, seed, threads, skip_bad).table(proteins, out)
    if json:
        print_json([row._asdict() for row in rows])
        return
    print(f"{rows_text(rows)}\njudgement: {out}")
