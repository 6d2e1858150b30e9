"""What the contamination check finds and measures, and when it stops the run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stages
from families import families, family_of, mutate, random_protein
from pools import make_pool

from plm_scaling.common.errors import DedupError
from plm_scaling.dedup.leakage import BINS
from plm_scaling.dedup.split_tables import SPLIT_SCHEMA
from plm_scaling.dedup.split_views import view_of
from plm_scaling.pool.read import Pool
from plm_scaling.pool.selection import Selection, keys_of, span


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), families(60, ["one", "two"]))


@pytest.fixture(scope="module")
def splitted(pool: Pool) -> Path:
    """Next to the pool, so that a copy of it next to the pool has working links."""
    folder = pool.folder.parents[1]
    return stages.split(pool, stages.dedup(pool, folder / "dedup"), folder / "split")


def move_to(pool: Pool, folder: Path, key: int, split: str) -> None:
    """Change the table of a split and its databases, so that both agree."""
    tables = []
    for part in pool.parts:
        path = folder / f"part-000{part.number}.parquet"
        table = pd.read_parquet(path).astype({"split": object})
        own = np.arange(part.first_key, part.first_key + part.n_sequences)
        table.loc[own == key, "split"] = split
        pq.write_table(pa.Table.from_pandas(table, SPLIT_SCHEMA, preserve_index=False), path)
        table["is_rep"] = table.representative == own
        tables.append(table)
    everything = pd.concat(tables, ignore_index=True)
    for name in ("train", "valid"):
        chosen = everything.split == name
        if name != "train":
            chosen &= everything.is_rep
        chosen = chosen.to_numpy()
        Selection(pool, lambda part, c=chosen: keys_of(part)[c[span(part)]]).view(
            view_of(folder, name)
        )


def leak(pool: Pool, splitted: Path) -> tuple[str, int]:
    """Id and key of a training representative with a relative in training."""
    rows = []
    for part in pool.parts:
        own = pd.read_parquet(splitted / f"part-000{part.number}.parquet")
        own["key"] = np.arange(len(own)) + part.first_key
        rows.append(own)
    table = pd.concat(rows)
    names = stages.table(pool, splitted).reset_index().drop_duplicates("key").id
    reps = table[(table.key == table.representative) & (table.split == "train")]
    ids = dict(zip(table.key, sorted_owner_ids(pool), strict=True))
    family = reps.key.map(ids).map(family_of)
    key = int(reps[family.duplicated(keep="first")].key.iloc[0])
    assert ids[key] in set(names)
    return ids[key], key


def sorted_owner_ids(pool: Pool) -> list[str]:
    """The id of each key's first record, in order of keys."""
    names: list[str] = []
    for part in pool.parts:
        records = pd.concat([rows.to_pandas() for rows in part.records(["key", "id"])])
        names += records.drop_duplicates("key").id.tolist()
    return names


def test_what_was_searched_and_found_is_reported(
    pool: Pool, splitted: Path, tmp_path: Path
) -> None:
    (tmp_path / "check.failed.json").write_text("{}")
    (tmp_path / "leakage.failed.tsv").write_text("")
    report = json.loads(stages.check(pool, splitted, tmp_path / "check.json").read_text())
    sizes = pd.read_csv(splitted / "splits.tsv", sep="\t").groupby("split")
    valid = sizes[["sequences", "residues"]].sum().loc["valid"]
    assert report["passed"] is True
    table = stages.table(pool, splitted)
    assert report["training_sequences"] == table.key[table.split == "train"].nunique()
    assert report["training_sequences"] > sizes.sequences.sum()["train"]  # redundant ones too
    assert report["held_out"] == {
        "valid": {"sequences": valid.sequences, "leaked": 0, "first_pairs": []}
    }
    assert report["criteria"]["check_sensitivity"] == 5.7
    assert report["mmseqs"] == "18-8cc5c"
    measured = pd.read_csv(tmp_path / "leakage.tsv", sep="\t")
    assert measured.identity.tolist() == list(BINS)
    assert measured[["sequences", "residues"]].sum().tolist() == valid.tolist()
    assert {path.name for path in tmp_path.iterdir()} == {"check.json", "leakage.tsv"}


def test_planted_homologue_is_an_error_naming_it(pool: Pool, splitted: Path) -> None:
    name, key = leak(pool, splitted)
    tampered = splitted.with_name("tampered")
    shutil.copytree(splitted, tampered, symlinks=True)
    move_to(pool, tampered, key, "valid")
    out = tampered.with_name("contamination.json")
    out.write_text("{}")
    with pytest.raises(DedupError, match=rf"1 of \d+ valid sequences \(.*have a.*{name} \("):
        stages.check(pool, tampered, out)
    report = json.loads(out.with_name("contamination.failed.json").read_text())
    assert report["passed"] is False
    valid = report["held_out"]["valid"]
    assert valid["leaked"] == 1
    assert {family_of(pair["held_out"].split()[0]) for pair in valid["first_pairs"]} == {
        family_of(pair["training"].split()[0]) for pair in valid["first_pairs"]
    }
    assert not out.exists()  # the earlier report no longer holds
    assert not out.with_name("leakage.tsv").exists()
    measured = pd.read_csv(out.with_name("leakage.failed.tsv"), sep="\t").set_index("identity")
    assert measured.covered_by_one[[">=0.5", ">=0.7", ">=0.9"]].sum() == 1
    assert measured.covered_together.sum() == 1


def test_check_finds_what_the_purge_was_too_insensitive_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs of some 55 % identity without common stretches; the split searches hastily."""
    rng = np.random.default_rng(3)
    records: dict[str, list[tuple[str, str]]] = {"one": [], "two": []}
    for number in range(80):
        ancestor = random_protein(rng, 120)
        records["one"].append((f"one{number}a", ancestor))
        records["two"].append((f"two{number}b", mutate(rng, ancestor, 0.45)))
    pool = make_pool(tmp_path, records)
    deduped = stages.dedup(pool, tmp_path / "dedup")
    splitted = stages.split(pool, deduped, tmp_path / "split", sensitivity=1, valid_fraction=0.4)
    out = tmp_path / "contamination.json"
    stages.check(pool, splitted, out, check_sensitivity=1)  # as hastily: nothing
    with pytest.raises(DedupError, match=r"split\.max_leaked_fraction \(1 %\)") as error:
        stages.check(pool, splitted, out, check_sensitivity=7.5, max_leaked_fraction=0.01)
    assert "Raise split.sensitivity" in str(error.value)
    failed = json.loads(out.with_name("contamination.failed.json").read_text())
    assert {
        family_of(pair["held_out"].split()[0])
        for pair in failed["held_out"]["valid"]["first_pairs"]
    } == {
        family_of(pair["training"].split()[0])
        for pair in failed["held_out"]["valid"]["first_pairs"]
    }
    # Another limit judges what was found, without another search.
    monkeypatch.setattr("plm_scaling.dedup.leakage.find_homologues", None)
    stages.check(pool, splitted, out, check_sensitivity=7.5, max_leaked_fraction=0.9)
    assert not out.with_name("contamination.failed.json").exists()


@pytest.mark.parametrize("changed", ["table", "view"])
def test_databases_that_differ_from_the_tables_are_refused(
    pool: Pool, splitted: Path, tmp_path: Path, changed: str
) -> None:
    _, key = leak(pool, splitted)
    tampered = splitted.with_name(f"tampered-{changed}")
    shutil.copytree(splitted, tampered, symlinks=True)
    move_to(pool, tampered, key, "valid")
    for path in splitted.iterdir():
        if (path.suffix == ".index") == (changed == "table"):
            (tampered / path.name).unlink()
            shutil.copy(path, tampered / path.name, follow_symlinks=False)
    with pytest.raises(DedupError, match=r"does not hold the sequences that the tables"):
        stages.check(pool, tampered, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
