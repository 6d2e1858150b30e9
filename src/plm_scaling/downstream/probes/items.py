"""Items of supervised benchmarks, and what their training and test sets share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DownstreamError
from plm_scaling.common.files import atomic, read_json, write_json
from plm_scaling.downstream.read import TEST, TRAIN, VALID
from plm_scaling.downstream.similarity.overlap import Overlap, find_overlap
from plm_scaling.downstream.table import Dataset

LEAST_TEST = 10
COLUMNS = ["id", "split", "sequence", "label", "group"]


Floors = dict[str, float | None]


def write_items(
    rows: pd.DataFrame,
    row: Dataset,
    files: Sequence[Path],
    floors: Callable[[pd.DataFrame], Floors],
    out: Path,
) -> None:
    """Write items.parquet, counts.tsv and task.json into the folder `out`.

    `rows` as `read_tables` gives them; those without label (None, NaN) are dropped. `floors` gives
    of the items the scores of models that know nothing but the letters. Raises `DownstreamError`
    for fewer than `LEAST_TEST` test items, none to train on, or labels of a set all the same.
    """
    counts = Counts("prepare")
    known = rows["label"].notna()
    for good, reason in ((known, "kept"), (~known, "no_label")):
        residues = int(rows["sequence"][good].str.len().sum())
        counts.add(row.dataset, "in", int(good.sum()), residues)
        counts.add(row.dataset, reason, int(good.sum()), residues)
    items = rows[known].assign(group=rows["id"])[COLUMNS]
    tests = items["split"].str.startswith(TEST)
    sets = {"test": items[tests], "train": items[items["split"].isin([TRAIN, VALID])]}
    for name, least in (("test", LEAST_TEST), ("train", 2)):
        labels = sets[name]["label"]
        if len(labels) < least or labels.nunique() < 2:
            raise DownstreamError(
                f"{', '.join(map(str, files))}: the {name} set has {len(labels)} items with "
                f"{labels.nunique()} different labels; at least {least} with two are needed. See "
                "its splits, or give another file"
            )
    overlap = find_overlap(
        [*sets["train"]["sequence"]], [*sets["test"]["sequence"]], counts, row.dataset, out
    )
    with atomic(out / "items.parquet") as temporary:
        items.to_parquet(temporary, index=False)
    counts.write(out / "counts.tsv")
    facts = {"task": row.task, "dataset": row.dataset, "overlap": overlap, "floors": floors(items)}
    write_json(out / "task.json", facts)


def read_items(items: Path) -> tuple[pd.DataFrame, Floors, str]:
    """The items, the floors, and what the sets share as a note."""
    facts = read_json(items.with_name("task.json"))
    return pd.read_parquet(items), facts["floors"], str(Overlap(**facts["overlap"]))
