"""An invented pool with copies, near-duplicates and sequences that break each rule, filtered."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pools import make_pool
from splits import read_pool, write_split

from plm_scaling.common.parts import part_name
from plm_scaling.config.data import Thresholds
from plm_scaling.filter.complexity import WINDOW
from plm_scaling.filter.ngram import load_ngram
from plm_scaling.filter.reference import train_reference
from plm_scaling.filter.score import score_part
from plm_scaling.filter.select import select_sequences
from plm_scaling.pool.read import Pool

LETTERS = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
SPLITS = ["train", "valid", "ood", "reference", "dropped"]
SELECT: dict[str, Any] = {
    "min_length": 30,
    "max_length": 600,
    "max_unknown_fraction": 0.05,
    "min_distinct_3mer_ratio": 0.65,
    "length_bins": [0, 100, 300],
    "perplexity_quantiles": [0.05, 0.9],
}


def distinct_share(text: str | bytes, window: int = WINDOW) -> float:
    """The definition of `distinct_3mer_ratio`."""
    trimers = [text[i : i + 3] for i in range(len(text) - 2)]
    windows = [trimers[i : i + window] for i in range(0, len(trimers), window)]
    return sum(len(set(own)) for own in windows) / len(trimers) if trimers else float("nan")


def invented(n: int = 5000) -> dict[str, list[tuple[str, str]]]:
    """Records of two sources: copies within and across them, short, long, unknown, repetitive."""
    rng = np.random.default_rng(5)
    weights = rng.dirichlet(np.full(len(LETTERS), 3.0), 40)  # families of different composition
    records: dict[str, list[tuple[str, str]]] = {"one": [], "two": []}
    for number in range(n):
        length = int(rng.choice([rng.integers(30, 100), rng.integers(100, 500)]))
        text = rng.choice(LETTERS, length, p=weights[number % 40]).tobytes().decode()
        source = "one" if rng.random() < 0.6 else "two"
        records[source].append((f"{source}{number}", text))
        if number % 20 == 0:
            records["two"].append((f"copy{number}", text))
            records["one"].append((f"again{number}", text))
    odd = {"short": "MKVLAW", "long": records["one"][0][1] * 30, "repeat": "PQ" * 60}
    odd["unknown"] = "X" * 10 + records["one"][1][1][:40]
    for name, text in odd.items():
        records["two"].append((name, text))
    return records


@dataclass(frozen=True)
class Filtered:
    """Folders of one run below `folder`; `records` has every record with key and residues."""

    folder: Path
    pool: Pool
    split: Path
    splits: list[str]
    near: dict[int, int]
    records: pd.DataFrame

    def score(self, out: str = "scores") -> Path:
        """Score all parts with the n-gram model; the folder of the tables."""
        model = load_ngram(self.folder / "model.npz")
        for part in self.pool.parts:
            path = self.folder / out / f"{part_name(part.number)}.parquet"
            score_part(self.pool.folder, self.split, part.number, model, path)
        return self.folder / out

    def select(self, out: str = "filter", scores: str = "scores", **changed: Any) -> Path:
        """Select with the defaults of the tests, changed as asked; the folder made."""
        target = self.folder / out
        asked = Thresholds(**{**SELECT, **changed})
        folders = (self.pool.folder, self.split, self.folder / scores)
        select_sequences(*folders, asked, mmseqs="auto", out=target)
        return target

    def selected(self, folder: Path) -> pd.DataFrame:
        """Rows of the selected parts, in order."""
        tables = [
            pd.read_parquet(folder / f"{part_name(part.number)}.parquet")
            for part in self.pool.parts
        ]
        joined = pd.concat([t.astype({c: str for c in t if c != "key"}) for t in tables])
        return joined.reset_index(drop=True)

    def scores(self, folder: str = "scores") -> pd.DataFrame:
        """All score tables, with names as text."""
        tables = [
            pd.read_parquet(self.folder / folder / f"{part_name(part.number)}.parquet")
            for part in self.pool.parts
        ]
        joined = pd.concat(
            [t.astype(dict.fromkeys(("source", "split", "model"), str)) for t in tables]
        )
        return joined.reset_index(drop=True)


def prepare(folder: Path, parts: int, n: int = 5000) -> Filtered:
    """Pool, split and n-gram model of the invented records."""
    pool = make_pool(folder, invented(n), parts)
    records = pd.DataFrame(read_pool(pool))
    rng = np.random.default_rng(1)
    splits = rng.choice(SPLITS, pool.n_sequences, p=[0.75, 0.07, 0.06, 0.07, 0.05]).tolist()
    odd = set(records.set_index("id").key[["short", "long", "repeat", "unknown"]])
    for key in odd:
        splits[key] = "train"
    near = {key: key - 1 for key in range(1, pool.n_sequences, 9) if key not in odd}
    split = write_split(folder / "split", pool, splits, near)
    train_reference(pool.folder, split, 3, "one", folder / "model.npz")
    return Filtered(folder, pool, split, splits, near, records)
