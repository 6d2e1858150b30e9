"""`plm-scaling data`: token shards from one's own FASTA files, and what is in shards."""

from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add `data` and its commands to the subparsers of the `plm-scaling` command."""
    data = commands.add_parser("data", help="make and look at token shards").add_subparsers(
        required=True
    )
    tokenize = data.add_parser("tokenize", help="FASTA files to packed token shards")
    tokenize.add_argument("fasta", type=Path, nargs="+", help="plain, gzip, zstd or xz")
    tokenize.add_argument("--valid", type=Path, nargs="+", default=[], help="FASTA to hold out")
    tokenize.add_argument("--out", type=Path, required=True, help="folder to make")
    tokenize.add_argument("--context-length", type=int, required=True, help="tokens per row")
    tokenize.add_argument("--source", default="fasta", help="name of the source (default fasta)")
    tokenize.add_argument("--corpus", help="name of the corpus (default: that of the folder)")
    tokenize.add_argument(
        "--shard-rows", type=int, default=1_000_000, help="most rows per shard (default 1,000,000)"
    )
    tokenize.set_defaults(function=tokenize_files)
    inspect = data.add_parser("inspect", help="counts, composition, lengths, first sequences")
    inspect.add_argument("path", type=Path, help="manifest, corpus or part folder, or shard")
    inspect.add_argument("--sequences", type=int, default=3, help="how many to show (default 3)")
    inspect.add_argument("--verify", action="store_true", help="compare all checksums")
    inspect.set_defaults(function=show_tokens)


def tokenize_files(out: Path, corpus: str | None, **options: Any) -> None:
    """Pack FASTA files into shards and a manifest."""
    from plm_scaling.tokens.write.fasta import tokenize_fasta

    tokenize_fasta(out=out, corpus=corpus or out.name, **options)
    print(f"manifest: {out / 'manifest.json'}")


def show_tokens(path: Path, sequences: int, verify: bool) -> None:
    """Print what is in a shard, part or corpus."""
    from plm_scaling.tokens.read.inspect import inspect_tokens

    print(inspect_tokens(path, sequences, verify))
