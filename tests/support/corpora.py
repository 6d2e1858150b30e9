"""Token corpora for tests, made by the real tokenizer from real pools."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
from pools import make_pool
from selections import select

from plm_scaling.common.parts import part_name
from plm_scaling.pool.read import Pool
from plm_scaling.tokens.format.packing import pack, with_start_tokens
from plm_scaling.tokens.format.vocabulary import TABLES
from plm_scaling.tokens.read.dataset import TokenCorpus
from plm_scaling.tokens.write.merge import merge_tokens
from plm_scaling.tokens.write.tokenize import tokenize_part

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"


def random_sequences(n: int, seed: int, motif: str = "MKV") -> list[str]:
    """Sequences of 10 to 150 residues in which a motif recurs: there is something to learn."""
    rng = random.Random(seed)
    return [
        "".join(rng.choice([motif, rng.choice(RESIDUES)]) for _ in range(rng.randint(10, 50)))
        for _ in range(n)
    ]


def pack_rows(sequences: list[str], row: int, start_token: bool = False) -> np.ndarray:
    """Rows of tokens (n, `row`) that hold these proteins, packed as the tokenizer does."""
    data = "".join(f"{sequence}\n\0" for sequence in sequences).encode()
    lengths = np.array([len(sequence) for sequence in sequences])
    starts = np.cumsum(lengths + 2) - lengths - 2
    blocks = pack(pa.py_buffer(data), starts, lengths + 1, row, len(data) - 1, start_token)
    tokens = [TABLES["protein"].translate(b.data)[: len(b.tokens) * row] for b in blocks]
    rows = np.concatenate(tokens).reshape(-1, row)
    return with_start_tokens(rows) if start_token else rows


def write_corpus(
    folder: Path, context_length: int = 64, n: int = 300, seed: int = 1, start_token: bool = False
) -> Path:
    """Tokens of two sources, `a` and `b`, with a held-out split. Returns the manifest's path."""
    records: dict[str, list[tuple[str, str]]] = {"a": [], "b": []}
    for split, sequences in (("train", n), ("valid", n // 5)):
        for number, source in enumerate("ab"):
            texts = random_sequences(sequences, 10 * seed + number + 5 * (split == "valid"))
            records[source] += [(f"{split}{i}", text) for i, text in enumerate(texts)]
    pool = make_pool(folder, records)
    select(pool, folder / "filter", lambda name: (name.rstrip("0123456789"), "kept"))
    return write_tokens(folder, pool, context_length, start_token=start_token)


def write_tokens(
    folder: Path,
    pool: Pool,
    context_length: int = 64,
    shard_rows: int = 100,
    start_token: bool = False,
) -> Path:
    """Tokens of what is selected in `folder`/filter from a pool. Returns the manifest's path."""
    for part in range(len(pool.parts)):
        tokenize_part(
            pool=pool.folder,
            selected=folder / "filter",
            part=part,
            corpus="test",
            context_length=context_length,
            shard_rows=shard_rows,
            out=folder / "tokens" / pool.kind / part_name(part),
            start_token=start_token,
        )
    (folder / "contamination.json").write_text(json.dumps({"passed": True, "criteria": {}}))
    (folder / "filter/thresholds.json").write_text(json.dumps({"perplexity": {}}))
    manifest = folder / "tokens/manifest.json"
    merge_tokens(
        folder / "tokens",
        folder / "contamination.json",
        folder / "filter/thresholds.json",
        manifest,
    )
    return manifest


def valid_rows(corpus: TokenCorpus, n_rows: int, seed: int, split: str = "valid") -> np.ndarray:
    """A fixed sample of held-out rows, sources in proportion: uint8 (n_rows, context_length)."""
    samples = corpus.held_out_rows(split, n_rows, seed).values()
    return np.concatenate([sample.rows[: sample.proportional] for sample in samples])
