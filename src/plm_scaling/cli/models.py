"""`plm-scaling export`, `import`, `score` and `embed`: what models are used for."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Cell = Annotated[
    str,
    Parameter(help="a run folder (results/…/runs/CELL), or the cell's id below results/*/runs"),
]
Model = Annotated[
    str,
    Parameter(
        help="a run folder or a cell's id, as for export, or the folder of an ESM-2 or ProGen2"
    ),
]
Fasta = Annotated[
    list[Path],
    Parameter(
        help="proteins: files (plain, gzip, zstd or xz), folders of them, - for stdin",
        allow_leading_hyphen=True,
    ),
]
SkipBad = Annotated[bool, Parameter(help="go on without records that cannot be used")]
Threads = Annotated[
    int, Parameter(help="CPU threads (default: the cores here)", show_default=False)
]
CORES = len(os.sched_getaffinity(0))


def export(
    cell: Cell,
    /,
    *,
    to: Literal["hf"],
    out: Path,
    released_order: bool = False,
    threads: Threads = CORES,
) -> None:
    """Make a trained cell a model for other software.

    Example: plm-scaling export results/demo/runs/CELL --to hf --out my-model

    Args:
        to: hf: Hugging Face transformers
        out: folder to make
        released_order: token ids in the order of the models that the study released
    """
    from plm_scaling.inference.export import export_cell

    export_cell(cell, out, threads, released_order)
    print(f"model: {out}")


def import_model(
    folder: Path,
    /,
    *,
    source: Annotated[Literal["proteinglm"], Parameter(name="from")],
    out: Path,
    prefix: str = "<gmask><sop><eos>",
    threads: Threads = CORES,
) -> None:
    """Make a released model of the study a run, which every command takes.

    Example: plm-scaling import proteinglm-1b-clm --from proteinglm --out runs/clm-1b

    Args:
        folder: of the downloaded model: config.json, *.safetensors
        source: proteinglm: the models of the study (xTrimoPGLM)
        out: run folder to make
        prefix: CLM: tokens at the beginning of each row, of <gmask>, <sop>, <eos>
    """
    from plm_scaling.inference.imports import import_proteinglm

    import_proteinglm(folder, out, threads, prefix)
    print(f"run: {out}")


def score(
    model: Model,
    fasta: Fasta,
    /,
    *,
    out: Path,
    fast: bool = False,
    per_residue: bool = False,
    amino_acids: bool = False,
    skip_bad: SkipBad = False,
    threads: Threads = CORES,
) -> None:
    """Perplexity of proteins, by a trained cell or a public model.

    Example: plm-scaling score MODEL proteins.fasta --out scores.tsv

    Args:
        out: table: .parquet, .arrow or .tsv
        fast: MLM: mask as many residues at a time as in training, not one by one
        per_residue: add log-probabilities of each residue, MLM: and of the 20 amino acids there
        amino_acids: probabilities over the 20 amino acids alone, to compare models of other tokens
    """
    from plm_scaling.inference.score import score_fasta

    found = score_fasta(
        model, fasta, out, fast, per_residue, threads, skip_bad, amino_acids=amino_acids
    )
    print(f"scores: {out}{found.skipped}")


def embed(
    model: Model,
    fasta: Fasta,
    /,
    *,
    out: Path,
    per_residue: bool = False,
    layer: int = -1,
    skip_bad: SkipBad = False,
    threads: Threads = CORES,
) -> None:
    """Embeddings of proteins, by a trained cell or a public model.

    Example: plm-scaling embed MODEL proteins.fasta --out embeddings.parquet

    Args:
        out: table: .arrow or .parquet
        per_residue: one for each residue, not their mean
        layer: 0: token embeddings, k: output of layer k, -1: after the final norm
    """
    from plm_scaling.inference.embed import embed_fasta

    found = embed_fasta(model, fasta, out, layer, per_residue, threads, skip_bad)
    print(f"embeddings: {out}{found.skipped}")
