"""`plm-scaling export`, `score` and `embed`: what a trained cell is used for."""

import os
from pathlib import Path
from typing import Any

CELL = "a run folder (results/…/runs/CELL), or the cell's id below results/*/runs"
FASTA = "proteins: plain, gzip, zstd or xz"


def add_parsers(commands: Any) -> None:
    """Add the commands to the subparsers of the `plm-scaling` command."""
    export = commands.add_parser("export", help="a trained cell for other software")
    export.add_argument("cell", help=CELL)
    export.add_argument(
        "--to", choices=("hf",), required=True, help="hf: Hugging Face transformers"
    )
    export.add_argument("--out", type=Path, required=True, help="folder to make")
    export.add_argument(
        "--released-order",
        action="store_true",
        help="token ids in the order of the models that the study released",
    )
    _add_threads(export)
    export.set_defaults(function=export_to)
    score = commands.add_parser("score", help="perplexity of proteins, by a trained cell")
    score.add_argument("cell", help=CELL)
    score.add_argument("fasta", type=Path, help=FASTA)
    score.add_argument("--out", type=Path, required=True, help="table: .parquet, .arrow or .tsv")
    score.add_argument(
        "--fast",
        action="store_true",
        help="MLM: mask as many residues at a time as in training, not one by one",
    )
    score.add_argument(
        "--per-residue",
        action="store_true",
        help="add log-probabilities: of each residue and, for an MLM, of the 20 amino acids there",
    )
    _add_threads(score)
    score.set_defaults(function=score_proteins)
    embed = commands.add_parser("embed", help="embeddings of proteins, by a trained cell")
    embed.add_argument("cell", help=CELL)
    embed.add_argument("fasta", type=Path, help=FASTA)
    embed.add_argument("--out", type=Path, required=True, help="table: .arrow or .parquet")
    embed.add_argument(
        "--per-residue", action="store_true", help="one for each residue, not their mean"
    )
    embed.add_argument(
        "--layer",
        type=int,
        default=-1,
        help="0: token embeddings, k: output of layer k, -1: after the final norm (default)",
    )
    _add_threads(embed)
    embed.set_defaults(function=embed_proteins)


def _add_threads(parser: Any) -> None:
    cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--threads", type=int, default=cores, help=f"CPU threads (default {cores}, the cores here)"
    )


def export_to(cell: str, to: str, out: Path, threads: int, released_order: bool) -> None:
    """Write the folder for `transformers`, the only other software so far."""
    from plm_scaling.inference.export import export_cell

    export_cell(cell, out, threads, released_order)
    print(f"model: {out}")


def score_proteins(out: Path, **options: Any) -> None:
    """Write the table of scores."""
    from plm_scaling.inference.score import score_fasta

    score_fasta(out=out, **options)
    print(f"scores: {out}")


def embed_proteins(out: Path, **options: Any) -> None:
    """Write the table of embeddings."""
    from plm_scaling.inference.embed import embed_fasta

    embed_fasta(out=out, **options)
    print(f"embeddings: {out}")
