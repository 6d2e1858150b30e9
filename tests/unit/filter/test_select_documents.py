"""Code documents: each different one once, held out only by content."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pools import make_pool
from splits import read_pool

from plm_scaling.common.errors import FilterError
from plm_scaling.filter.documents import draw, select_documents
from plm_scaling.pool.read import Pool

DOCUMENTS = [(f"d{i}", f"def f{i}(x):\rreturn x + {i}") for i in range(400)]
SOURCES = {"code": DOCUMENTS, "more": [("copy", DOCUMENTS[3][1]), ("own", "print(1)")]}


def select(folder: Path, parts: int, seed: int = 1) -> tuple[Pool, pd.DataFrame, Path]:
    pool = make_pool(folder, SOURCES, parts, kind="code")
    out = folder / f"filter{seed}"
    select_documents(pool.folder, 0.2, seed, out)
    tables = [pd.read_parquet(path) for path in sorted(out.glob("part-*.parquet"))]
    assert len(tables) == parts
    rows = pd.concat([table.astype({c: str for c in table if c != "key"}) for table in tables])
    return pool, rows.reset_index(drop=True), out


def test_every_different_document_is_listed_once_by_its_first_source(tmp_path: Path) -> None:
    pool, rows, out = select(tmp_path, 4)
    assert rows.key.tolist() == list(range(401))
    owners = pd.DataFrame(read_pool(pool)).groupby("key").first()
    assert rows.source.tolist() == owners.source.tolist()
    assert set(rows.stratum) == {"kept"}
    assert rows.split.value_counts()["valid"] == pytest.approx(80, abs=25)
    counts = pd.read_csv(out / "counts.tsv", sep="\t").set_index(["source", "reason"]).sequences
    assert counts["code", "in"] == counts["code", "kept"] == 400
    assert (counts["more", "in"], counts["more", "kept"], counts["more", "exact_copy"]) == (2, 1, 1)
    for entry in json.loads((out / "totals.json").read_text()):
        own = rows[(rows.split == entry["split"]) & (rows.source == entry["source"])]
        assert entry["records"] == len(own)
        assert entry["tokens"] == (owners.length[own.key] + 1).sum()


def test_result_does_not_depend_on_parts_but_on_the_seed(tmp_path: Path) -> None:
    _, one, _ = select(tmp_path / "1", 1)
    _, eight, _ = select(tmp_path / "8", 8)
    pd.testing.assert_frame_equal(one, eight)
    _, other, _ = select(tmp_path / "other", 1, seed=2)
    assert (one.split != other.split).any()


def test_draw_is_uniform_and_independent_of_the_part() -> None:
    digests = np.sort(np.random.default_rng(0).integers(0, 2**64, 200_000, dtype=np.uint64))
    values = draw(digests, seed=3)
    assert values.min() >= 0
    assert values.max() < 1
    for part in np.split(values, 8):  # digests ascend, so these are parts
        assert np.mean(part < 0.05) == pytest.approx(0.05, abs=5e-3)
        assert np.histogram(part, 10, (0, 1))[0] == pytest.approx(2500, rel=0.1)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_invalid_fraction_is_refused(tmp_path: Path, fraction: float) -> None:
    pool = make_pool(tmp_path, SOURCES, 1, kind="code")
    with pytest.raises(FilterError, match="between 0 and 1"):
        select_documents(pool.folder, fraction, 1, tmp_path / "out")


def test_proteins_and_too_few_documents_are_refused(tmp_path: Path) -> None:
    proteins = make_pool(tmp_path / "a", {"a": [("1", "MKV")]}, 1)
    with pytest.raises(FilterError, match="holds protein, not code"):
        select_documents(proteins.folder, 0.5, 1, tmp_path / "out")
    single = make_pool(tmp_path / "b", {"a": [("1", "x = 1")]}, 1, kind="code")
    with pytest.raises(FilterError, match="no document for"):
        select_documents(single.folder, 0.5, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()
