"""FASTA files as tokens, and the tokens read back."""

import shutil
from pathlib import Path

import numpy as np

from plm_scaling.tokens.format.packing import segment_bounds
from plm_scaling.tokens.format.vocabulary import decode
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.tokens.write.fasta import tokenize_fasta


def tokenize(
    folder: Path, *paths: Path, valid: list[Path] | None = None, start_token: bool = False
) -> Path:
    """The manifest of the corpus of these files, with 20 rows a shard."""
    out = folder / "tokens"
    shutil.rmtree(out, ignore_errors=True)
    tokenize_fasta(list(paths), valid or [], "mine", "own", 64, 20, out, start_token)
    return out / "manifest.json"


def sequences_of(manifest: Path, split: str = "train") -> list[str]:
    """Every sequence, or piece of one, as its tokens decoded; `?` is the eod or start token."""
    rows = TokenCorpus.open(manifest).rows(split, "mine")
    read = rows.read(np.arange(len(rows)))
    bounds = zip(*segment_bounds(read), strict=True)
    return sorted(decode(read.reshape(-1)[a : a + n].tobytes()) for a, n in bounds)


def pieces(texts: list[str], row: int = 64) -> list[str]:
    """What `sequences_of` finds of these sequences."""
    return sorted(
        p for t in texts for p in ((t + "?")[i : i + row] for i in range(0, len(t) + 1, row))
    )
