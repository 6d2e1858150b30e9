"""Turn the filtered sequences into packed token shards and a manifest.

The sequences already lie one after the other in MMseqs2 databases, so tokenising is one
`bytes.translate` per chunk.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from plm_scaling.dedup.database import database_exists, read_chunks, read_index
from plm_scaling.dedup.split import TRAIN, VALID
from plm_scaling.errors import TokenError
from plm_scaling.files import atomic, read_json, sha256_of, write_json
from plm_scaling.filter.select import selected_sequences
from plm_scaling.progress import Progress, short_number
from plm_scaling.tokens import vocabulary
from plm_scaling.tokens.packing import pack
from plm_scaling.tokens.shards import FORMAT, ShardSpool, schema

logger = logging.getLogger("plm_scaling")

WINDOW_SEQUENCES = 1 << 16  # packed together: enough for a tight fit, little enough for memory
WINDOW_TOKENS = 1 << 26
TOTALS = ("rows", "tokens", "sequences", "padding_tokens")


def tokenize_corpus(
    filter: Path,
    contamination: Path,
    corpus: str,
    context_length: int,
    shard_rows: int,
    seed: int,
    out: Path,
) -> None:
    """Pack every kept sequence of `filter` into rows of `context_length` tokens.

    The folder `out` gets {train,valid}/shard-{source}-{number}.arrow, at most `shard_rows` rows
    each, and manifest.json. Sequences are shuffled by `seed` within windows of 65,536 before
    packing, so that neighbours in the input are not neighbours in a row. Raises `TokenError` if the
    contamination report is not clean.
    """
    if context_length < 2 or shard_rows < 1:
        raise TokenError(f"context length {context_length} or shard rows {shard_rows} is too small")
    if not contamination.is_file() or read_json(contamination).get("clean") is not True:
        raise TokenError(f"{contamination} is no clean contamination report; check the split first")
    sources = list(read_json(filter / "thresholds.json")["perplexity"])
    splits: dict[str, Any] = {}
    with atomic(out) as folder:
        folder.mkdir()
        for split in (TRAIN, VALID):
            (folder / split).mkdir()
            entries = {}
            for number, source in enumerate(sources):
                database = selected_sequences(filter, split, source)
                if database_exists(database):
                    facts = schema(context_length, corpus, source, split, seed)
                    name = f"{split}/shard-{source}"
                    rng = np.random.default_rng([seed, number, split == VALID])
                    entries[source] = _write_shards(
                        database, folder, name, facts, context_length, shard_rows, rng
                    )
            totals = {what: sum(entry[what] for entry in entries.values()) for what in TOTALS}
            splits[split] = {**totals, "sources": entries}
            logger.info(
                "[tokens] %s: %s rows, %s tokens of %s sequences, %.2f %% padding",
                split,
                f"{totals['rows']:,}",
                short_number(totals["tokens"]),
                f"{totals['sequences']:,}",
                100 * totals["padding_tokens"] / (totals["rows"] * context_length),
            )
        manifest = {
            "format": FORMAT,
            "corpus": corpus,
            "context_length": context_length,
            "vocabulary_sha256": vocabulary.SHA256,
            "vocabulary": vocabulary.VOCABULARY,
            "vocabulary_padded_size": vocabulary.PADDED_SIZE,
            "seed": seed,
            "config": {
                "context_length": context_length,
                "shard_rows": shard_rows,
                "filter": read_json(filter / "thresholds.json"),
                "contamination": read_json(contamination)["criteria"],
            },
            "splits": splits,
        }
        write_json(folder / "manifest.json", manifest)


def _write_shards(
    database: Path,
    folder: Path,
    name: str,
    facts: Any,
    context_length: int,
    shard_rows: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Write all shards of one split and source; return their entry of the manifest."""
    total = int(read_index(database)[1].sum())
    progress = Progress(f"tokens {name}", total, "B")
    shards: list[dict[str, Any]] = []
    shard = dict.fromkeys(TOTALS, 0)

    def close() -> None:
        nonlocal shard
        path = f"{name}-{len(shards):05d}.arrow"
        spool.finish(folder / path, facts)
        size = (folder / path).stat().st_size
        shards.append({"path": path, **shard, "bytes": size, "sha256": sha256_of(folder / path)})
        shard = dict.fromkeys(TOTALS, 0)

    with ShardSpool(folder / f"{name}.spool", context_length) as spool:
        for tokens, lengths in token_windows(database):
            rows = pack(*shuffle(tokens, lengths, rng), context_length)
            rng.shuffle(rows)
            while len(rows):
                part, rows = np.split(rows, [shard_rows - spool.rows])
                spool.write(part)
                padding = int(np.count_nonzero(part == vocabulary.PAD))
                shard["rows"] += len(part)
                shard["tokens"] += part.size - padding
                shard["sequences"] += int(np.count_nonzero(part == vocabulary.EOD))
                shard["padding_tokens"] += padding
                if spool.rows == shard_rows:
                    close()
            progress.add(len(tokens) + len(lengths))
        if spool.rows:
            close()
    return {**{what: sum(s[what] for s in shards) for what in TOTALS}, "shards": shards}


def token_windows(database: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Tokens of some ten thousand sequences at a time, and each one's number of tokens with eod."""
    held: list[np.ndarray] = []
    sequences = size = 0
    for chunk in read_chunks(database):
        held.append(np.frombuffer(vocabulary.encode(chunk), np.uint8))
        sequences += chunk.count(b"\0")
        size += len(chunk)
        if sequences >= WINDOW_SEQUENCES or size >= WINDOW_TOKENS:
            yield _window(held)
            held, sequences, size = [], 0, 0
    if held:
        yield _window(held)


def _window(held: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    tokens = np.concatenate(held)
    return tokens, np.diff(np.flatnonzero(tokens == vocabulary.EOD), prepend=-1)


def shuffle(
    tokens: np.ndarray, lengths: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same sequences in another order."""
    order = rng.permutation(len(lengths))
    starts = np.cumsum(lengths) - lengths
    pieces = [tokens[starts[i] : starts[i] + lengths[i]] for i in order]
    return np.concatenate(pieces), lengths[order]
