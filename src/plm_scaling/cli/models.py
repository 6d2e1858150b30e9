"""`plm-scaling export`, `import`, `score` and `embed`: what models are used for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from plm_scaling.cli.options import (
    CORES,
    Cell,
    Fasta,
    Json,
    Model,
    NewFolder,
    SkipBad,
    TableOrStdout,
    Threads,
    print_json,
)
from plm_scaling.common.errors import InferenceError
from plm_scaling.common.tables import STDOUT

if TYPE_CHECKING:
    from plm_scaling.sources.read.inputs import Survey


def export(
    cell: Cell,
    /,
    *,
    to: Literal["hf"],
    out: NewFolder,
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
    out: NewFolder,
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
    out: TableOrStdout,
    fast: bool = False,
    per_residue: bool = False,
    amino_acids: bool = False,
    skip_bad: SkipBad = False,
    json: Json = False,
    threads: Threads = CORES,
) -> None:
    """Perplexity of proteins, by a trained cell or a public model.

    Example: plm-scaling score MODEL proteins.fasta --out scores.tsv

    Args:
        fast: MLM: mask as many residues at a time as in training, not one by one
        per_residue: add log-probabilities of each residue, MLM: and of the 20 amino acids there
        amino_acids: probabilities over the 20 amino acids alone, to compare models of other tokens
    """
    _one_on_stdout(out, json)
    from plm_scaling.inference.scoring.score import score_fasta

    found = score_fasta(
        model, fasta, out, fast, per_residue, threads, skip_bad, amino_acids=amino_acids
    )
    _print_written("scores", out, found, json)


def embed(
    model: Model,
    fasta: Fasta,
    /,
    *,
    out: TableOrStdout,
    per_residue: bool = False,
    layer: int = -1,
    skip_bad: SkipBad = False,
    json: Json = False,
    threads: Threads = CORES,
) -> None:
    """Embeddings of proteins, by a trained cell or a public model.

    Example: plm-scaling embed MODEL proteins.fasta --out embeddings.parquet

    Args:
        per_residue: one for each residue, not their mean
        layer: 0: token embeddings, k: output of layer k, -1: after the final norm
    """
    _one_on_stdout(out, json)
    from plm_scaling.inference.embed import embed_fasta

    found = embed_fasta(model, fasta, out, layer, per_residue, threads, skip_bad)
    _print_written("embeddings", out, found, json)


def _one_on_stdout(out: Path, json: bool) -> None:
    if json and out == STDOUT:
        raise InferenceError("--json and --out - both print to standard output; give one of them")


def _print_written(what: str, out: Path, found: "Survey", json: bool) -> None:
    """Where the table is and which records are not in it; nothing if it is on stdout."""
    if json:
        print_json({what: out, **found.to_json()})
    elif out != STDOUT:
        print(f"{what}: {out}{found.skipped}")
