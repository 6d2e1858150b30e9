"""The split of invented families with the real MMseqs2."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import stages
from families import Records, families, family_of, mutate, random_protein
from pools import make_pool, write_clean

from plm_scaling.common.errors import DedupError
from plm_scaling.dedup.purge import Purge
from plm_scaling.dedup.split_views import view_of
from plm_scaling.pool.database import read_keys
from plm_scaling.pool.read import Pool
from plm_scaling.pool.selection import Selection

pytestmark = pytest.mark.usefixtures("quick_searches")
SOURCES = ["one", "two"]
EMPTY = np.empty(0, np.int64)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("pool"), families(60, SOURCES))


@pytest.fixture(scope="module")
def deduped(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stages.dedup(pool, tmp_path_factory.mktemp("run") / "dedup")


@pytest.fixture(scope="module")
def splitted(pool: Pool, deduped: Path) -> Path:
    return stages.split(pool, deduped, deduped.parent / "split")


def held(records: Records, tmp_path: Path, **changed: Any) -> tuple[Pool, pd.DataFrame]:
    """Pool, deduplicate and split these records."""
    pool = make_pool(tmp_path, records)
    deduped = stages.dedup(pool, tmp_path / "dedup")
    return pool, stages.table(pool, stages.split(pool, deduped, tmp_path / "split", **changed))


@pytest.mark.parametrize("clustering", ["linclust", "cluster"])
def test_families_are_never_split(
    pool: Pool, deduped: Path, splitted: Path, tmp_path: Path, clustering: str
) -> None:
    if clustering != "linclust":
        splitted = stages.split(pool, deduped, tmp_path / "split", clustering=clustering)
    table = stages.table(pool, splitted)
    kept = table[table.split != "dropped"]
    assert set(kept.split) == {"train", "valid", "reference"}
    # Members at 70 % identity are clustered at 50 %, or found by the search.
    without_reference = kept[kept.split != "reference"]
    sides = without_reference.groupby(without_reference.index.map(family_of)).split.nunique()
    assert (sides == 1).all()
    assert (table.reason.notna() == (table.split == "dropped")).all()
    assert set(table.reason.dropna()) <= {"homologous_to_training", "in_reference_cluster"}
    owners = table.source[table.representative].to_numpy()
    assert set(owners[table.split == "reference"]) == {"one"}
    share = (kept.groupby(kept.index.map(family_of)).split.first() == "valid").mean()
    assert 0.05 < share < 0.4


def test_redundant_sequences_follow_their_representative(pool: Pool, splitted: Path) -> None:
    table = stages.table(pool, splitted)
    assert (table.key != table.representative).sum() > 40
    head = table.loc[table.representative]
    for column in ("representative", "cluster", "split", "reason"):
        assert (table[column].fillna("").to_numpy() == head[column].fillna("").to_numpy()).all()


def test_views_and_counts_hold_what_is_assigned(pool: Pool, deduped: Path, splitted: Path) -> None:
    for split in ("train", "valid", "reference"):
        keys = []
        for part in pool.parts:
            own = pd.read_parquet(splitted / f"part-000{part.number}.parquet")
            own["key"] = np.arange(len(own)) + part.first_key
            chosen = own.split == split
            if split != "train":  # which holds redundant sequences too
                chosen &= own.key == own.representative
            keys += own.key[chosen].tolist()
        stored = np.concatenate(list(read_keys(view_of(splitted, split)))).tolist()
        assert stored == keys, split
        assert view_of(splitted, split).with_name(f"{split}.1").resolve() == (
            pool.parts[1].database.resolve()
        )
    assert not list(splitted.glob("ood*"))
    counts, before = stages.counts(splitted), stages.counts(deduped)
    sizes = pd.read_csv(splitted / "splits.tsv", sep="\t").groupby("source").sequences.sum()
    for source in SOURCES:
        assert counts[source, "in"] == before[source, "kept"]
        assert counts[source, "kept"] == sizes[source]
    table = stages.table(pool, splitted)
    kept = table[(table.key == table.representative) & (table.split != "dropped")]
    by_split = pd.read_csv(splitted / "splits.tsv", sep="\t").groupby("split").sequences.sum()
    assert by_split.to_dict() == {
        "ood": 0,
        **{name: n for name, n in kept.split.value_counts().items() if n},
    }


def test_result_depends_on_neither_threads_nor_parts_nor_memory(
    pool: Pool, deduped: Path, splitted: Path, tmp_path: Path
) -> None:
    expected = stages.table(pool, splitted)
    again = stages.split(pool, deduped, tmp_path / "split", threads=2, memory_mb=3000)
    assert stages.files_below(again) == stages.files_below(splitted)
    for parts in (4,):
        records = families(60, SOURCES)
        for rows in records.values():
            np.random.default_rng(parts).shuffle(rows)
        folder = tmp_path / str(parts)
        other = make_pool(folder, records, parts)
        out = stages.split(other, stages.dedup(other, folder / "dedup"), folder / "split")
        pd.testing.assert_frame_equal(stages.table(other, out), expected)


def test_pool_may_have_more_parts_than_sequences(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    records = [(str(number), random_protein(rng, 60)) for number in range(24)]
    pool = make_pool(tmp_path, {"one": records}, parts=32)
    splitted = stages.split(pool, stages.dedup(pool, tmp_path / "dedup"), tmp_path / "split")
    assert stages.counts(splitted)["one", "in"] == 24


def test_draw_does_not_depend_on_other_sequences(tmp_path: Path) -> None:
    """Of the families that are there both times, none changes its side."""
    every = families(80, SOURCES)
    some = {s: [(n, p) for n, p in rows if family_of(n) < 60] for s, rows in every.items()}
    _, first = held(some, tmp_path / "some")
    _, second = held(every, tmp_path / "every")
    assert first.split.equals(second.split[first.index])


def embedded(n: int, rate: float, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Domains, and longer proteins with a relative of each at identity 1 − `rate`.

    Both of a pair cannot be in one cluster: the domain is 40 % of the longer protein.
    """
    pairs = []
    for number in range(n):
        domain = random_protein(rng, 120)
        longer = random_protein(rng, 180) + mutate(rng, domain, rate)
        pairs.append((f"{number}", domain, longer))
    return pairs


def test_planted_homologue_at_60_percent_is_dropped_from_validation(tmp_path: Path) -> None:
    pairs = embedded(40, 0.4, np.random.default_rng(3))
    records = {"one": [(f"d{n}", d) for n, d, _ in pairs] + [(f"l{n}", p) for n, _, p in pairs]}
    pool, table = held(records, tmp_path, valid_fraction=0.4, reference_fraction=0.1)
    assert len(set(table.cluster)) == 80
    across = [n for n, _, _ in pairs if table.split[f"l{n}"] == "train"]
    dropped = set(table.index[table.reason == "homologous_to_training"])
    assert len(dropped) > 3
    assert dropped <= {f"d{n}" for n in across}
    assert not [n for n in across if table.split[f"d{n}"] == "valid"]
    # The longer one is not covered by the domain: it stays wherever it is.
    assert all(table.split[f"l{n}"] != "dropped" for n, _, _ in pairs)
    stages.check(pool, tmp_path / "split", tmp_path / "clean.json")


def in_fragments(n: int, rng: np.random.Generator) -> dict[str, list[tuple[str, str]]]:
    """Proteins of 300 residues, each with three fragments that resemble it at 90 %, and others with
    one that resembles half of it."""
    records = []
    for number in range(n):
        whole = random_protein(rng, 300)
        records.append((f"w{number}", whole))
        for piece in range(3):
            own = mutate(rng, whole[100 * piece : 100 * (piece + 1)], 0.1)
            records.append((f"f{number}.{piece}", own))
    for number in range(n // 3):
        half = random_protein(rng, 300)
        records.append((f"h{number}", half))
        records.append((f"g{number}", mutate(rng, half[:150], 0.1)))
    return {"one": records}


def test_fragments_that_cover_a_sequence_together_drop_it_where_the_purge_is_cumulative(
    tmp_path: Path,
) -> None:
    records = in_fragments(70, np.random.default_rng(5))
    fractions = {"valid_fraction": 0.3, "reference_fraction": 0.05}
    pool, single = held(records, tmp_path, **fractions)
    asked = fractions | {"purge": "cumulative"}
    both = stages.table(pool, stages.split(pool, tmp_path / "dedup", tmp_path / "both", **asked))
    trained = [
        name
        for name in single.index[single.split == "valid"]
        if name[0] == "w" and all(single.split[f"f{name[1:]}.{i}"] == "train" for i in range(3))
    ]
    assert len(trained) > 2  # one training sequence covers a third of them
    assert set(both.reason[trained]) == {"homologous_to_training"}
    differs = both.index[both.split != single.split]
    assert {name[0] for name in differs} == {"w"}
    assert (both.split[differs] == "dropped").all()
    leaked = []
    for name in ("split", "both"):
        stages.check(pool, tmp_path / name, tmp_path / "check.json")
        table = pd.read_csv(tmp_path / "leakage.tsv", sep="\t")
        leaked.append(table[["covered_by_one", "covered_together"]].sum().tolist())
    assert leaked == [[0, len(differs)], [0, 0]]


def test_redundant_sequences_never_change_what_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Domains like the part in which a redundant sequence differs from its representative.

    The redundant one leaves training; the domain stays held out, as without the redundant ones.
    """
    rng = np.random.default_rng(5)
    records: Records = {"one": [], "two": []}
    for number in range(40):
        body, tail = random_protein(rng, 400), random_protein(rng, 40)
        # The tail is below 10 % of the sequence: the two are near-identical.
        records["one"] += [(f"r{number}", body), (f"t{number}", tail)]
        records["two"].append((f"m{number}", body + tail))
    options: dict[str, Any] = {"valid_fraction": 0.4, "reference_fraction": 0.05}
    pool, table = held(records, tmp_path / "with", **options)
    assert [table.representative[f"m{n}"] for n in range(40)] == [f"r{n}" for n in range(40)]
    across = [n for n in range(40) if table.split[f"r{n}"] == "train"]
    leaks = [n for n in across if table.split[f"t{n}"] == "valid"]
    assert len(leaks) > 5
    assert {table.reason[f"m{n}"] for n in leaks} == {"homologous_to_held_out"}
    assert {table.split[f"m{n}"] for n in across if n not in leaks} == {"train"}
    counts = stages.counts(tmp_path / "with" / "split")
    assert counts["two", "handled:redundant_dropped"] == len(leaks)
    _, without = held({"one": records["one"], "two": []}, tmp_path / "without", **options)
    assert without.split.equals(table.split[without.index])
    stages.check(pool, tmp_path / "with" / "split", tmp_path / "clean.json")
    with monkeypatch.context() as patch:
        patch.setattr(Purge, "_redundant", lambda self, outcome: Selection(pool, lambda _: EMPTY))
        pool, table = held(records, tmp_path / "unsearched", **options)
    with pytest.raises(DedupError, match=f"{len(leaks)} of .* valid sequences .* have a homologue"):
        stages.check(pool, tmp_path / "unsearched" / "split", tmp_path / "clean.json")


def test_ood_sequences_with_a_training_homologue_are_dropped(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    records = families(40, ["one"])
    long = [random_protein(rng, 180) for _ in range(20)]
    records["one"] += [(f"long{n}", protein) for n, protein in enumerate(long)]
    records["late"] = [(f"new{n}", random_protein(rng, 150)) for n in range(10)]
    records["late"] += [
        (f"part{n}", mutate(rng, protein[:80], 0.2)) for n, protein in enumerate(long)
    ]
    records["late"] += [
        (f"relative{n}", mutate(rng, protein, 0.2)) for n, protein in enumerate(long)
    ]
    records["late"] += [(f"copy{n}", protein) for n, protein in enumerate(long)]
    pool, table = held(records, tmp_path, ood_sources=["late"])
    assert {table.split[f"new{n}"] for n in range(10)} == {"ood"}
    for n in range(20):
        assert table.split[f"copy{n}"] == table.split[f"long{n}"] != "ood"
        assert table.split[f"relative{n}"] in (table.split[f"long{n}"], "dropped")
        expected = "dropped" if table.split[f"long{n}"] == "train" else "ood"
        assert table.split[f"part{n}"] == expected
    stored = np.concatenate(list(read_keys(view_of(tmp_path / "split", "ood"))))
    assert len(stored) == (table.split == "ood").sum()
    report = stages.check(pool, tmp_path / "split", tmp_path / "clean.json").read_text()
    assert f'"sequences": {len(stored)}' in report


def test_downstream_homologues_leave_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(6)
    records = families(40, SOURCES)
    tests = [random_protein(rng, 150) for _ in range(6)]
    for number, protein in enumerate(tests):
        # Seven clusters that are like it: longer proteins that share nothing else.
        records["one"] += [
            (f"hit{number}-{i}", random_protein(rng, 200) + mutate(rng, protein, 0.3))
            for i in range(7)
        ]
    write_clean(tmp_path / "clean" / "tests", [(f"t{n}", p) for n, p in enumerate(tests)], 2)
    downstream = [tmp_path / "clean" / "tests"]
    # Fewer candidates per search than there are homologues: one round does not find all.
    monkeypatch.setattr("plm_scaling.dedup.split.PURGE_MAX_SEQS", 3)
    with caplog.at_level(logging.INFO, "plm_scaling"):
        pool, table = held(records, tmp_path, downstream=downstream)
    assert "downstream 3:" in caplog.text
    hits = table[table.index.str.startswith("hit")]
    assert set(hits.split) == {"dropped", "valid", "reference"}
    assert (hits.reason[hits.split == "dropped"] == "homologous_to_downstream").all()
    assert (table.reason == "homologous_to_downstream").sum() == (hits.split == "dropped").sum()
    out = tmp_path / "clean.json"
    stages.check(pool, tmp_path / "split", out, downstream=downstream)
    without = stages.split(pool, tmp_path / "dedup", tmp_path / "without")
    with pytest.raises(
        DedupError, match=r"6 of 6 downstream sequences .* have a homologue.*t\d \("
    ):
        stages.check(pool, without, out, downstream=downstream)


def test_redundant_homologue_of_a_downstream_test_leaves_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    records = families(40, SOURCES)
    tests = []
    for number in range(12):
        body, tail = random_protein(rng, 400), random_protein(rng, 40)
        records["one"].append((f"r{number}", body))
        records["two"].append((f"m{number}", body + tail))
        tests.append((f"t{number}", tail))
    write_clean(tmp_path / "clean" / "tests", tests, 2)
    downstream = [tmp_path / "clean" / "tests"]
    pool, table = held(records, tmp_path, downstream=downstream)
    _, without = held(records, tmp_path / "without")
    for number in range(12):
        assert table.representative[f"m{number}"] == f"r{number}"
        assert table.split[f"r{number}"] == without.split[f"r{number}"]
        in_training = table.split[f"r{number}"] == "train"
        expected = "homologous_to_downstream" if in_training else without.reason[f"m{number}"]
        assert table.reason[f"m{number}"] is expected or table.reason[f"m{number}"] == expected
    assert (table.reason == "homologous_to_downstream").sum() >= 5
    stages.check(pool, tmp_path / "split", tmp_path / "clean.json", downstream=downstream)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reference_source": "three"}, "'three' is not among the pool's: one, two"),
        ({"ood_sources": ["late"]}, "'late' is not among the pool's: one, two"),
        ({"ood_sources": ["one", "two"]}, "none is left to train on"),
        ({"valid_fraction": 1e-9}, "no sequence is left for valid"),
        ({"downstream": [Path("nowhere")]}, "nowhere holds no cleaned sequences"),
        ({"memory_mb": 600}, "at least 600 MB for k-mers; give at least 856 MB"),
    ],
)
def test_impossible_request_is_refused(
    pool: Pool, deduped: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(DedupError, match=message):
        stages.split(pool, deduped, tmp_path / "split", **changed)
    assert not (tmp_path / "split").exists()


def test_dedup_of_another_pool_is_refused(pool: Pool, tmp_path: Path) -> None:
    other = make_pool(tmp_path / "other", families(30, SOURCES))
    deduped = stages.dedup(other, tmp_path / "dedup")
    with pytest.raises(DedupError, match=r"part-0000\.parquet has .* rows for"):
        stages.split(pool, deduped, tmp_path / "split")
