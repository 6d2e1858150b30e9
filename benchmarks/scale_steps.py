"""The steps of the data path as the workflow runs them, for benchmarks/scale.py."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plm_scaling.common.parts import part_name

SOURCES = ["uniref", "metagenome"]
PART_SEQUENCES = 500_000  # parts are chosen so that none has many more records
SEED, CONTEXT = 1, 1024
DEDUP = {"min_seq_id": 0.9, "coverage": 0.8}
HOMOLOGY = {"min_seq_id": 0.5, "coverage": 0.8}
CHECK = {"check_sensitivity": 7.5, "max_leaked_fraction": 0.02}
CLUSTERS = {
    "sensitivity": 5.7,
    "purge": "single",
    "clustering": "linclust",
    "valid_fraction": 0.002,
    "reference_fraction": 0.02,
}
THRESHOLDS = {
    **{"min_length": 30, "max_length": 2000, "max_unknown_fraction": 0.05},
    **{"min_distinct_3mer_ratio": 0.65, "length_bins": [0, 100, 200, 400, 800]},
    "perplexity_quantiles": [0.01, 0.99],
}

Command = list[str | Path | int | float]


@dataclass(frozen=True)
class Run:
    """The data path on one set: where it lies and what it may use."""

    work: Path
    n: int
    threads: int
    memory_mb: int

    @property
    def data(self) -> Path:
        return self.work / "data"

    @property
    def pool(self) -> Path:
        return self.data / "pool" / "protein"

    @property
    def parts(self) -> int:
        return 2 ** max(0, math.ceil(math.log2(self.n / PART_SEQUENCES)))

    def mmseqs(self) -> Command:
        """The arguments of every program that runs MMseqs2."""
        return [
            *("--threads", self.threads, "--memory-mb", self.memory_mb),
            *("--scratch", self.work / "scratch", "--mmseqs", self.work / "mmseqs"),
        ]

    def each_part(self, *command: str | Path | int | float) -> list[Command]:
        """The command for each part; `{part}` in an argument becomes the part's name."""
        return [
            [
                *(str(word).replace("{part}", part_name(part)) for word in command),
                *("--part", part),
            ]
            for part in range(self.parts)
        ]


def clean(run: Run) -> list[Command]:
    table = run.work / "sources.tsv"
    return [
        [
            *("clean_source.py", "--table", table, "--source", source, "--parts", run.parts),
            *("--raw", run.work / "raw" / f"{source}.fasta", "--max-rejected-fraction", 0.01),
            *("--out", run.data / "clean" / source),
        ]
        for source in SOURCES
    ]


def pool(run: Run) -> list[Command]:
    folders = [run.data / "clean" / source for source in SOURCES]
    sources: tuple[str | Path, ...] = ("--clean", *folders, "--sources", *SOURCES)
    where: tuple[str | Path | int, ...] = (
        "--parts",
        run.parts,
        "--kind",
        "protein",
        "--out",
        run.pool / "{part}",
    )
    return run.each_part("pool_part.py", *sources, *where)


def dedup(run: Run) -> list[Command]:
    return [
        [
            *("deduplicate.py", "--pool", run.pool, "--settings", json.dumps(DEDUP), *run.mmseqs()),
            *("--out", run.data / "dedup"),
        ]
    ]


def split(run: Run) -> list[Command]:
    return [
        [
            *("split_clusters.py", "--pool", run.pool, "--dedup", run.data / "dedup"),
            *("--settings", json.dumps(HOMOLOGY | CLUSTERS)),
            *("--reference-source", SOURCES[0], "--seed", SEED),
            *(*run.mmseqs(), "--out", run.data / "split"),
        ]
    ]


def contamination(run: Run) -> list[Command]:
    return [
        [
            *("check_contamination.py", "--split", run.data / "split", "--pool", run.pool),
            *("--settings", json.dumps(HOMOLOGY | CHECK), *run.mmseqs()),
            *("--out", run.data / "contamination.json"),
        ]
    ]


def reference(run: Run) -> list[Command]:
    return [
        [
            *("train_reference.py", "--pool", run.pool, "--split", run.data / "split"),
            *("--order", 3, "--reference-source", SOURCES[0]),
            *("--out", run.data / "scores" / "model.npz"),
        ]
    ]


def score(run: Run) -> list[Command]:
    scores = run.data / "scores"
    return run.each_part(
        *("score_part.py", "--pool", run.pool, "--split", run.data / "split", "--threads", 1),
        *("--model", scores / "model.npz", "--out", scores / "{part}.parquet"),
    )


def select(run: Run) -> list[Command]:
    return [
        [
            *("select_sequences.py", "--pool", run.pool, "--split", run.data / "split"),
            *("--scores", run.data / "scores", "--settings", json.dumps(THRESHOLDS)),
            *("--mmseqs", "auto", "--out", run.data / "filter"),
        ]
    ]


def tokenise(run: Run) -> list[Command]:
    tokens = run.data / "tokens"
    merge: Command = [
        *("merge_tokens.py", "--tokens", tokens, "--out", tokens / "manifest.json"),
        *("--contamination", run.data / "contamination.json"),
        *("--thresholds", run.data / "filter" / "thresholds.json"),
    ]
    return [
        *run.each_part(
            *("tokenize_part.py", "--pool", run.pool, "--selected", run.data / "filter"),
            *("--corpus", "scale", "--context-length", CONTEXT, "--shard-rows", 1_000_000),
            *("--out", tokens / "protein" / "{part}"),
        ),
        merge,
    ]


# Name: its commands, and the folder (below data) that it fills.
STEPS: dict[str, tuple[Callable[[Run], list[Command]], str]] = {
    "clean": (clean, "clean"),
    "pool": (pool, "pool"),
    "dedup": (dedup, "dedup"),
    "split": (split, "split"),
    "contamination": (contamination, "."),
    "reference": (reference, "scores"),
    "score": (score, "scores"),
    "select": (select, "filter"),
    "tokenise": (tokenise, "tokens"),
}
