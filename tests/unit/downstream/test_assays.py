"""Assays as files have them: what is dropped and counted, and what is refused with a remedy."""

import zipfile

import pandas as pd
import pytest
from small_assays import WILD_TYPE, assay, prepared, single_mutants

from plm_scaling.common.counts import Counts
from plm_scaling.common.errors import DownstreamError
from plm_scaling.downstream.fitness.assays import read_assays, read_reference

COUNTS = Counts("downstream")
MUTANTS = single_mutants(30, seed=1)


def items_of(folder):
    return pd.read_parquet(folder / "items.parquet")


def counts_of(folder):
    table = pd.read_csv(folder / "counts.tsv", sep="\t")
    return dict(zip(table["reason"], table["sequences"], strict=True))


def test_items(tmp_path):
    items = items_of(prepared(tmp_path, {"a": assay(MUTANTS), "b": assay(["K2A:V3L", *MUTANTS])}))
    assert items["id"].is_unique
    double = items[items["id"] == "b/K2A:V3L"].iloc[0]
    assert double["sequence"] == "MALLAAGIVPLLWNDERTYHSCFQK"
    assert double["blosum62"] == -1 + 1
    assert items.groupby("group")["fit"].mean().to_dict() == pytest.approx(
        {"a": 15 / 30, "b": 16 / 31}
    )


def test_what_is_dropped_is_counted(tmp_path):
    table = assay([*MUTANTS, MUTANTS[0], "K2*", "K2K", "K2R"])
    table.loc[len(table) - 1, "DMS_score"] = None
    folder = prepared(tmp_path, {"a": table})
    assert counts_of(folder) == {
        **{"in": 34, "no target": 1, "wild type": 1, "letters": 1, "duplicate": 1, "kept": 30}
    }
    assert len(items_of(folder)) == 30


def test_classes_are_those_given_or_by_the_cutoff(tmp_path):
    table = assay(MUTANTS).assign(DMS_score_bin=[0, 1] * 15)
    assert items_of(prepared(tmp_path / "1", {"a": table}))["fit"].tolist() == [False, True] * 15
    cut = items_of(prepared(tmp_path / "2", {"a": assay(MUTANTS)}, DMS_binarization_cutoff=0.5))
    assert (cut["fit"] == (cut["target"] >= 0.5)).all()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (assay([*MUTANTS, "A2V"]), r"row 32: A2V: the wild type has K there; correct the wild"),
        (assay([*MUTANTS, "K99A"]), r"row 32: K99A: the wild type has 25 residues"),
        (assay([*MUTANTS, "del7"]), r"row 32: mutant 'del7' is not written as A24C"),
        (assay(MUTANTS).assign(mutated_sequence=WILD_TYPE), "row 2: mutated_sequence is not"),
        (assay(MUTANTS).assign(DMS_score=1.5), "all mutants have 1.5"),
        (assay(MUTANTS).assign(DMS_score=["x", *range(29)]), "row 2, column DMS_score: 'x' is no"),
        (pd.DataFrame(), "cannot be read as a table .*; get it again"),
        (assay(MUTANTS[:9]), "9 mutants of 9 can be scored, an assay needs 10"),
        (assay(MUTANTS).drop(columns="DMS_score"), "it needs the columns DMS_score and mutant"),
    ],
)
def test_bad_assays_are_refused(tmp_path, table, said):
    with pytest.raises(DownstreamError, match=said) as error:
        prepared(tmp_path, {"a": table})
    assert "assays.zip:a.csv" in str(error.value)


def test_offset_that_fits_is_said(tmp_path):
    """Positions counted from the mature protein, as papers do."""
    shifted = [f"{one[0]}{int(one[1:-1]) + 22}{one[-1]}" for one in MUTANTS]
    with pytest.raises(DownstreamError, match=r"all mutants fit with -22 added to their positions"):
        prepared(tmp_path, {"a": assay(shifted)})


def test_wild_type_of_other_letters_is_refused(tmp_path):
    with pytest.raises(DownstreamError, match="row 2, column target_seq: 'X' is none of the 20"):
        prepared(tmp_path, {"a": assay(MUTANTS)}, {"a": WILD_TYPE + "X"})


def test_missing_assay_is_named(tmp_path):
    with pytest.raises(DownstreamError, match=r"assays.zip has no b.csv, which a is in"):
        prepared(tmp_path, {"a": assay(MUTANTS)}, DMS_filename="b.csv")


def test_file_that_is_no_zip_is_named(tmp_path):
    for there in (False, True):
        if there:
            (tmp_path / "assays.zip").write_text("<html>")
        with pytest.raises(DownstreamError, match=r"assays\.zip cannot be read as a zip"):
            next(read_assays(tmp_path / "assays.zip", pd.DataFrame(), False, {}, COUNTS))
    with pytest.raises(DownstreamError, match=r"none\.csv cannot be read as a table"):
        read_reference(tmp_path / "none.csv")


@pytest.mark.parametrize("byte", [0, 40])
def test_damaged_member_is_named(tmp_path, byte):
    """In its header or its data, while the zip's own table is whole."""
    path, reference = tmp_path / "assays.zip", pd.DataFrame({"DMS_id": ["a"]})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", assay(MUTANTS).to_csv(index=False))
    data = bytearray(path.read_bytes())
    data[byte] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DownstreamError, match=r"assays\.zip:a\.csv cannot be read .*get"):
        next(read_assays(path, reference.assign(DMS_filename="a.csv"), False, {}, COUNTS))
