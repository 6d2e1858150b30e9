"""What MMseqs2's clustering and search settings find of planted clusters, and what they take.

nice -n 10 python benchmarks/clustering.py --sequences 20000 200000 --work WORK \
    [--only 90 50 variants search]

Prints Markdown tables: pair precision and recall against the truth (tests/support/planted.py),
CPU-seconds, peak memory and bytes of temporary files of each setting, per size; exponents between
sizes.
Finished measurements lie in WORK as JSON and are not repeated.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pc

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))
from planted import COPY, LOW, MEMBER, Truth, cluster_labels, pair_scores, truth_of, write_planted

from plm_scaling.mmseqs.tool import find_mmseqs

MEASURE = Path(__file__).with_name("measure.py")
COVERAGE = ("-c", 0.8, "--cov-mode", 0)
REAL = ("--alignment-mode", 3)  # identity from the alignment, not estimated from its score
K80 = ("--kmer-per-seq", 80)
SPACED = ("--spaced-kmer-mode", 1)


@dataclass(frozen=True)
class Stage:
    """One clustering of the representatives of the stage before."""

    workflow: str
    identity: float
    options: tuple[str | float, ...] = ()

    def __str__(self) -> str:
        words = " ".join(map(str, self.options))
        return f"{self.workflow} {self.identity:g} {words}".strip()


FIRST = Stage("linclust", 0.9)
REAL_90 = Stage("linclust", 0.9, REAL)
TWICE = (REAL_90, Stage("linclust", 0.9, REAL + K80))
CHAINS: dict[str, list[tuple[Stage, ...]]] = {
    "90": [
        (FIRST,),
        (Stage("linclust", 0.9, K80),),
        (REAL_90,),
        (REAL_90, REAL_90),
        TWICE,
        (Stage("cluster", 0.9),),
    ],
    "50": [
        (Stage("linclust", 0.5),),
        (FIRST, Stage("linclust", 0.5)),
        (FIRST, Stage("linclust", 0.5, K80)),
        (FIRST, Stage("linclust", 0.5, K80 + SPACED)),
        (*TWICE, Stage("linclust", 0.5, K80)),
        (*TWICE, Stage("linclust", 0.5, K80 + SPACED)),
        (*TWICE, Stage("linclust", 0.5, ("--kmer-per-seq", 300, *SPACED))),
        (*TWICE, Stage("linclust", 0.5, (*K80, "-k", 8))),
        (*TWICE, Stage("cluster", 0.5)),
    ],
}
# Above LARGE sequences only these, and of the searches only that with validation as query.
LARGE = 200_000
LARGE_CHAINS = [
    (FIRST,),
    TWICE,
    (FIRST, Stage("linclust", 0.5, K80)),
    (*TWICE, Stage("linclust", 0.5, K80 + SPACED)),
]
MAX_REVERSE = 20_000  # sequences; above, training as query takes too long
# Memory limits are a half and a sixth of what kmermatcher wants: 21 k-mers of 16 bytes each.
KMER_BYTES = 21 * 16
VARIANTS: dict[str, Any] = {
    "default": lambda n: (),
    "--compressed 1": lambda n: ("--compressed", 1),
    "--split-memory-limit, half": lambda n: ("--split-memory-limit", f"{n * KMER_BYTES // 2}B"),
    "--split-memory-limit, a sixth": lambda n: ("--split-memory-limit", f"{n * KMER_BYTES // 6}B"),
    "--cluster-mode 3": lambda n: ("--cluster-mode", 3),
}
SEARCH = (
    "--mask",
    0,
    "-s",
    5.7,
    "-k",
    6,
    "-c",
    0.8,
    "--min-seq-id",
    0.5,
    *REAL,
    "-e",
    10,
    "--max-seqs",
    1000,
)
VALID_SHARES = (0.001, 0.01, 0.05)  # of the families; the last not above LARGE


class Bench:
    """Runs and remembers MMseqs2 commands on one planted set."""

    def __init__(self, folder: Path, n: int, threads: int) -> None:
        self.folder, self.n, self.threads = folder, n, threads
        self.tool = find_mmseqs("auto")
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "db.index").exists():
            fasta = write_planted(folder / "fasta", n, seed=1)
            self.tool.run("createdb", *fasta.values(), folder / "db", "--shuffle", 0)
            shutil.rmtree(folder / "fasta")
        names = pc.read_csv(
            folder / "db.lookup",
            read_options=pc.ReadOptions(column_names=["key", "id", "file"]),
            parse_options=pc.ParseOptions(delimiter="\t"),
        )
        self.truth: Truth = truth_of(names["id"])
        self.scored = self.truth.kind != LOW  # repeats may well resemble each other
        self.residues = (folder / "db").stat().st_size - 2 * n

    def measure(self, name: str, workflow: str, paths: list[Path], *options: Any) -> dict:
        """What one command took; its result is the last of `paths`."""
        result = self.folder / f"{name}.json"
        if not result.exists():
            temporary, raw = self.folder / "tmp", self.folder / "measured.json"
            shutil.rmtree(temporary, ignore_errors=True)
            command = [self.tool.path, workflow, *paths, temporary, *options]
            command += ["--threads", self.threads]
            program = [sys.executable, "-S", MEASURE, raw, temporary, *command]
            with (self.folder / f"{name}.log").open("wb") as log:
                subprocess.run(list(map(str, program)), check=True, stdout=log, stderr=log)
            shutil.rmtree(temporary)
            raw.rename(result)
        return json.loads(result.read_text())

    def cluster(self, chain: tuple[Stage, ...], *extra: Any) -> tuple[np.ndarray, list[dict]]:
        """Label of each record after the chain, and what each stage took."""
        labels, taken, name, database = np.arange(self.n), [], "", self.folder / "db"
        for stage in chain:
            name += file_name(f"{stage} {' '.join(map(str, extra))}")
            out = self.folder / f"{name}.clusters"
            options = (*COVERAGE, "--min-seq-id", stage.identity, *stage.options, *extra)
            taken.append(self.measure(name, stage.workflow, [database, out], *options))
            labels = cluster_labels(self.tool, out, self.n)[labels]
            database = self.folder / f"{name}.reps"
            if not database.with_name(f"{database.name}.index").exists():
                self.tool.run("createsubdb", out, self.folder / "db", database, "--subdb-mode", 1)
        return labels, taken

    def scores(self, labels: np.ndarray, level: str) -> tuple[float, float]:
        """Precision and recall over all records that are not of low complexity."""
        return pair_scores(self.truth.clusters(level)[self.scored], labels[self.scored])


def file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in text.strip()) + "+"


def total(taken: list[dict]) -> dict[str, float]:
    """CPU time adds up over stages; memory and disk do not, since each stage clears up."""
    sums = {"cpu_s", "wall_s"}
    return {
        key: (sum if key in sums else max)(stage[key] for stage in taken)
        for key in taken[0]
        if key != "exit_code"
    }


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


COST = ["CPU-s", "wall s", "RSS MB", "anonymous MB", "temporary MB"]


def cost(taken: dict[str, float]) -> list[str]:
    keys = ("cpu_s", "wall_s", "rss_mb", "anonymous_mb", "temporary_mb")
    return [f"{taken[key]:,.3g}" if taken[key] < 1000 else f"{taken[key]:,.0f}" for key in keys]


def clustering(bench: Bench, level: str) -> None:
    truth = "subfamily" if level == "90" else "family"
    rows = []
    for chain in CHAINS[level]:
        if bench.n > LARGE and chain not in LARGE_CHAINS:
            continue
        labels, taken = bench.cluster(chain)
        precision, recall = bench.scores(labels, truth)
        name = " → ".join(f"`{stage}`" for stage in chain)
        found = f"{len(np.unique(labels)):,}"
        rows.append([name, found, f"{precision:.5f}", f"{recall:.4f}", *cost(total(taken))])
    true = len(np.unique(bench.truth.clusters(truth)))
    size = f"{bench.n:,} sequences, {bench.residues / 1e6:,.1f} M residues"
    title = f"{level} %, {size}, {true:,} true clusters"
    print_table(title, ["setting", "clusters", "precision", "recall", *COST], rows)


def variants(bench: Bench) -> None:
    """Memory and disk of the first stage; the clusters must be the same."""
    rows = []
    reference, _ = bench.cluster((FIRST,))
    for name, options in VARIANTS.items():
        labels, taken = bench.cluster((FIRST,), *options(bench.n))
        same = "yes" if (labels == reference).all() else "no"
        rows.append([f"`{name}`", same, *cost(total(taken))])
    print_table(f"`{FIRST}`, {bench.n:,} sequences", ["option", "same clusters", *COST], rows)


def search(bench: Bench) -> None:
    """Find validation sequences with a homologue in training.

    Validation is a share of the families; half of them leave their first subfamily in training,
    which the search should find. Both sets are representatives at 90 %.
    """
    labels, _ = bench.cluster(TWICE)
    truth, rows = bench.truth, []
    representative = np.unique(labels)
    family, subfamily = truth.family[representative], truth.subfamily[representative]
    rank = np.random.default_rng(0).permutation(int(truth.family.max()) + 1) / truth.family.max()
    first = np.full(int(truth.family.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, family, subfamily)
    for share in VALID_SHARES[: 2 if bench.n > LARGE else 3]:
        held = rank[family] < share
        leaked = held & (rank[family] < share / 2)
        valid = held & ~(leaked & (subfamily == first[family]))
        train = ~valid
        left = np.unique(family[train])
        whole = np.isin(truth.kind[representative], (MEMBER, COPY))
        has_homologue = valid & whole & np.isin(family, left)
        names = {}
        for name, chosen in (("valid", valid), ("train", train)):
            names[name] = bench.folder / f"{name}.{share}"
            if not names[name].with_name(f"{name}.{share}.index").exists():
                keys = bench.folder / "keys"
                np.savetxt(keys, representative[chosen], fmt="%d")
                bench.tool.run(
                    "createsubdb", keys, bench.folder / "db", names[name], "--subdb-mode", 0
                )
        homologous = representative[has_homologue]
        for title, query, target, mode in (
            ("validation as query", "valid", "train", 2),
            ("training as query", "train", "valid", 1),
        ):
            if mode == 1 and (bench.n > MAX_REVERSE or share != VALID_SHARES[1]):
                continue
            out = bench.folder / f"search.{query}.{share}"
            taken = bench.measure(
                out.name, "search", [names[query], names[target], out], *SEARCH, "--cov-mode", mode
            )
            found = hits(bench, out, mode == 1)
            train_residues = (bench.folder / f"train.{share}").stat().st_size
            valid_residues = (bench.folder / f"valid.{share}").stat().st_size
            rows.append(
                [
                    f"{100 * share:g} %, {title}",
                    f"{valid_residues / 1e6:.3g}",
                    f"{train_residues / 1e6:.3g}",
                    f"{np.isin(homologous, found).sum():,} of {len(homologous):,}",
                    *cost(taken),
                ]
            )
    header = ["validation", "its M residues", "training M residues", "homologous found", *COST]
    print_table(f"search, {bench.n:,} sequences", header, rows)


def hits(bench: Bench, out: Path, as_target: bool) -> np.ndarray:
    """Keys of validation sequences with a hit, from an alignment database."""
    table = out.with_name(f"{out.name}.tsv")
    bench.tool.run("prefixid", out, table, "--tsv", 1, "--threads", 1)
    if table.stat().st_size == 0:
        return np.empty(0, np.int64)
    return np.unique(np.loadtxt(table, np.int64, usecols=1 if as_target else 0, ndmin=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=["90", "50", "variants", "search"])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    for n in arguments.sequences:
        bench = Bench(arguments.work / str(n), n, arguments.threads)
        for part in arguments.only:
            if part in CHAINS:
                clustering(bench, part)
            else:
                {"variants": variants, "search": search}[part](bench)


if __name__ == "__main__":
    main()
