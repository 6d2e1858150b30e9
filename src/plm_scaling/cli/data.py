"""`plm-scaling data`: what sequence files are, token shards from them, and what is in shards."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from plm_scaling.cli.options import Fasta, Json, NewFolder, SkipBad, print_json
from plm_scaling.common.command_line import READS

app = App(
    help="""Check sequence files, make and look at token shards.

    Example: plm-scaling data check my.faa.gz
    """
)


@app.command
def check(fasta: Fasta, /, *, config: Path | None = None, json: Json = False) -> None:
    """What sequence files are, and what the pipeline would make of them. Nothing is written.

    Exit code 1 if the pipeline would stop.

    Example: plm-scaling data check my.faa.gz --config config/demo.yaml

    Args:
        config: whose rules to apply (default: those of the full study)
    """
    from plm_scaling.preflight.command import check_files
    from plm_scaling.preflight.text import survey_text

    found = check_files(fasta, config)
    if json:
        print_json(found.to_json())
    else:
        print(survey_text(found))
    if not found.usable:
        sys.exit(1)


@app.command
def tokenize(
    fasta: Fasta,
    /,
    *,
    out: NewFolder,
    context_length: int,
    valid: Annotated[Sequence[Path], Parameter(consume_multiple=(1, None)), READS] = (),
    source: str = "fasta",
    corpus: str | None = None,
    shard_rows: int = 1_000_000,
    start_token: bool = False,
    skip_bad: SkipBad = False,
    json: Json = False,
) -> None:
    """FASTA files to packed token shards and a manifest.

    Example: plm-scaling data tokenize my.faa.gz --context-length 1024 --out data/mine

    Args:
        out: folder to make
        context_length: tokens per row
        valid: FASTA to hold out, - for stdin
        source: name of the source
        corpus: name of the corpus (default: that of the folder)
        shard_rows: most rows per shard
        start_token: put one in front of each sequence
    """
    from plm_scaling.tokens.write.fasta import tokenize_fasta

    corpus = corpus or out.name
    found = tokenize_fasta(
        fasta,
        list(valid),
        source,
        corpus,
        context_length,
        shard_rows,
        out,
        start_token,
        skip_bad,
    )
    manifest = out / "manifest.json"
    if json:
        print_json({"manifest": manifest, **found.to_json()})
    else:
        print(f"manifest: {manifest}{found.skipped}")


@app.command
def inspect(path: Path, /, *, sequences: int = 3, verify: bool = False, json: Json = False) -> None:
    """Counts, composition, lengths and first sequences.

    Example: plm-scaling data inspect data/demo/tokens --verify

    Args:
        path: manifest, corpus or part folder, or shard
        sequences: how many to show
        verify: compare all checksums
    """
    from plm_scaling.tokens.read.inspect import inspect_tokens, token_facts

    if json:
        print_json(token_facts(path, verify))
    else:
        print(inspect_tokens(path, sequences, verify))
