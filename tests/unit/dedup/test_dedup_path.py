"""Deduplication, split and contamination check on invented families, with the real MMseqs2."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SPLIT, Corpus

from plm_scaling.dedup.contamination import check_contamination
from plm_scaling.dedup.database import make_subdatabase, read_index, read_sequences
from plm_scaling.dedup.deduplicate import deduplicate
from plm_scaling.dedup.mmseqs import find_mmseqs
from plm_scaling.dedup.split import _draw, sequences_of, split_by_cluster
from plm_scaling.errors import DedupError
from plm_scaling.files import sha256_of


def files_below(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256_of(p) for p in folder.rglob("*") if p.is_file()}


def test_dedup_near_identical_members_share_a_representative(corpus: Corpus) -> None:
    table = pd.read_parquet(corpus.folder / "dedup" / "clusters.parquet").set_index("id")
    assert set(table.index) == set(corpus.sequences)
    assert (table.length == table.index.map(lambda key: len(corpus.sequences[key]))).all()
    assert all(key.startswith(source) for key, source in table.source.items())
    names = table.reset_index().set_index("key").id
    for key, representative in table.representative.items():
        assert corpus.family[key] == corpus.family[names[representative]]
    by_family = table.groupby(table.index.map(corpus.family.__getitem__)).representative.nunique()
    assert (by_family[range(60)] == 2).mean() > 0.9  # the two near-identical ones merge


def test_dedup_representatives_database_holds_their_sequences(corpus: Corpus) -> None:
    table = pd.read_parquet(corpus.folder / "dedup" / "clusters.parquet")
    reps = table[table.key == table.representative]
    keys, _ = read_index(corpus.folder / "dedup" / "reps")
    assert keys.tolist() == reps.key.tolist()
    stored = [s for chunk in read_sequences(corpus.folder / "dedup" / "reps") for s in chunk]
    assert stored == [corpus.sequences[key] for key in reps.id]


@pytest.mark.parametrize("stage", ["dedup", "split", "filter"])
def test_counts_every_stage_adds_up_and_hands_over(corpus: Corpus, stage: str) -> None:
    table = pd.read_csv(corpus.folder / stage / "counts.tsv", sep="\t")
    for _, rows in table.groupby("source"):
        totals = rows.set_index("reason")[["sequences", "residues"]]
        assert (totals.loc["in"] == totals.drop(index="in").sum()).all()
    if stage == "split":
        before = pd.read_csv(corpus.folder / "dedup" / "counts.tsv", sep="\t")
        kept = before[before.reason == "kept"].set_index("source").sequences
        assert kept.equals(table[table.reason == "in"].set_index("source").sequences)


@pytest.mark.slow
def test_dedup_and_split_any_thread_count_gives_the_same_files(
    corpus: Corpus, tmp_path: Path
) -> None:
    deduplicate(corpus.fasta, corpus.sources, 0.9, 0.8, 1, "auto", tmp_path / "dedup")
    assert files_below(tmp_path / "dedup") == files_below(corpus.folder / "dedup")
    split_by_cluster(
        tmp_path / "dedup", **SPLIT, reference_source="one", sensitivity=5.7, seed=1, threads=1,
        mmseqs="auto", out=tmp_path / "split",
    )  # fmt: skip
    assert files_below(tmp_path / "split") == files_below(corpus.folder / "split")


def test_dedup_missing_file_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DedupError, match=r"gone\.fasta is missing"):
        deduplicate([tmp_path / "gone.fasta"], ["a"], 0.9, 0.8, 1, "auto", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_dedup_failing_command_leaves_nothing(families: Corpus, tmp_path: Path) -> None:
    with pytest.raises(DedupError, match="linclust failed"):
        deduplicate(families.fasta, families.sources, 7.0, 0.8, 1, "auto", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_split_families_are_never_divided(corpus: Corpus) -> None:
    table = pd.read_parquet(corpus.folder / "split" / "assignment.parquet")
    table["family"] = table.id.map(corpus.family)
    assert set(table.split) >= {"train", "valid", "reference"}
    kept = table[table.split != "dropped"]
    # Members at 70 % identity are clustered at 50 %.
    assert (kept.groupby("family").split.nunique() == 1).all()
    assert set(table[table.split == "reference"].source) == {"one"}
    assert set(table.reason.dropna()) <= {"homologous_to_training", "in_reference_cluster"}
    assert (table.reason.notna() == (table.split == "dropped")).all()


def test_split_databases_hold_what_is_assigned(corpus: Corpus) -> None:
    table = pd.read_parquet(corpus.folder / "split" / "assignment.parquet")
    for split in ("train", "valid", "reference"):
        assigned = table[table.split == split]
        path = sequences_of(corpus.folder / "split", split)
        assert read_index(path)[0].tolist() == assigned.key.tolist()
        stored = [s for chunk in read_sequences(path) for s in chunk]
        assert stored == [corpus.sequences[key] for key in assigned.id]
    sizes = pd.read_csv(corpus.folder / "split" / "splits.tsv", sep="\t")
    assert sizes.groupby("split").sequences.sum().to_dict() == {
        name: n for name, n in table.split.value_counts().items() if name != "dropped"
    }


def test_split_draw_depends_on_seed_and_sequence_alone(corpus: Corpus) -> None:
    reps = corpus.folder / "dedup" / "reps"
    keys, _ = read_index(reps)
    alone = np.arange(len(keys))
    first, again, other = (_draw(reps, keys, alone, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert (first != other).all()
    assert len(set(first)) == len(keys)
    assert 0 <= first.min() < 0.1 < 0.9 < first.max() < 1
    by_head = _draw(reps, keys, alone // 2 * 2, 1)  # each second one follows the one before
    assert np.array_equal(by_head, first[alone // 2 * 2])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"valid_fraction": 0.0}, "must be above 0"),
        ({"valid_fraction": 0.9}, "leave something for training"),
        ({"reference_source": "three"}, "'three' is not among one, two"),
    ],
)
def test_split_impossible_request_is_refused(
    corpus: Corpus, tmp_path: Path, changed: dict, message: str
) -> None:
    asked = {**SPLIT, "reference_source": "one", **changed}
    with pytest.raises(DedupError, match=message):
        split_by_cluster(
            corpus.folder / "dedup", **asked, sensitivity=5.7, seed=1, threads=2, mmseqs="auto",
            out=tmp_path / "split",
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_split_homologues_that_clustering_misses_are_dropped(tmp_path: Path) -> None:
    """Domains inside longer proteins: below 80 % coverage of both, so not in one cluster."""
    rng = np.random.default_rng(3)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
    fasta = tmp_path / "s.fasta"
    lines = []
    for number in range(40):
        domain = rng.choice(letters, 100)
        longer = np.concatenate([rng.choice(letters, 150), domain])
        lines += [
            f">d{number}",
            domain.tobytes().decode(),
            f">l{number}",
            longer.tobytes().decode(),
        ]
    fasta.write_text("\n".join(lines) + "\n")
    deduplicate([fasta], ["s"], 0.9, 0.8, 2, "auto", tmp_path / "dedup")
    split_by_cluster(
        tmp_path / "dedup", 0.5, 0.8, 0.3, 0.1, "s", 5.7, 1, 2, "auto", tmp_path / "split"
    )
    table = pd.read_parquet(tmp_path / "split" / "assignment.parquet").set_index("id")
    assert len(set(table.cluster)) == 80
    leaks = [
        n for n in range(40) if table.split[f"l{n}"] == "train" and table.split[f"d{n}"] == "valid"
    ]
    dropped = table.index[table.reason == "homologous_to_training"]
    assert not leaks
    assert len(dropped) > 3
    assert all(name.startswith("d") for name in dropped)  # of the longer ones 60 % is uncovered
    check_contamination(tmp_path / "split", 0.5, 0.8, 5.7, 2, "auto", tmp_path / "clean.json")


def test_contamination_clean_split_is_reported(corpus: Corpus) -> None:
    report = json.loads((corpus.folder / "clean.json").read_text())
    assert report["clean"] is True
    assert report["pairs"] == 0
    assert report["training_sequences"] > 0 < report["validation_sequences"]
    assert report["mmseqs"] == "18-8cc5c"


def test_contamination_leak_stops_and_names_the_pair(corpus: Corpus, tmp_path: Path) -> None:
    shutil.copytree(corpus.folder / "split", tmp_path / "split")
    table = pd.read_parquet(tmp_path / "split" / "assignment.parquet")
    train = table[table.split == "train"]
    family = train.id.map(corpus.family)
    leaked = train[family.duplicated(keep="first")].iloc[0]
    shutil.rmtree(tmp_path / "split" / "valid")
    valid = table[(table.split == "valid") | (table.id == leaked.id)]
    make_subdatabase(
        find_mmseqs("auto"), corpus.folder / "dedup" / "reps", valid.key.to_numpy(),
        sequences_of(tmp_path / "split", "valid"),
    )  # fmt: skip
    out = tmp_path / "contamination.json"
    out.write_text("{}")
    with pytest.raises(DedupError, match=leaked.id):
        check_contamination(tmp_path / "split", 0.5, 0.8, 5.7, 2, "auto", out)
    report = json.loads((tmp_path / "contamination.failed.json").read_text())
    assert report["clean"] is False
    assert report["contaminated_validation_sequences"] == 1
    assert {pair["validation"] for pair in report["first_pairs"]} == {
        f"{leaked.id} ({leaked.source})"
    }
    assert {path.name for path in tmp_path.iterdir()} == {"split", "contamination.failed.json"}
