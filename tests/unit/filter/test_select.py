"""Selection: every record that enters is kept or dropped with a reason, whatever the parts."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from filtered import SELECT, Filtered
from splits import write_split

from plm_scaling.common.errors import FilterError
from plm_scaling.common.files import sha256_of
from plm_scaling.common.parts import part_name
from plm_scaling.filter.rules import REASONS
from plm_scaling.filter.score import SCORE_SCHEMA
from plm_scaling.filter.thresholds import MIN_SEQUENCES


def expected_records(run: Filtered, folder: Path) -> pd.DataFrame:
    """The definition of `select_sequences` record by record, with the thresholds that it wrote."""
    limits = json.loads((folder / "thresholds.json").read_text())["perplexity"]
    scores = run.scores()
    rows = []
    by_key = {
        key: list(group) for key, group in groupby(run.records.itertuples(), attrgetter("key"))
    }
    for score in scores.itertuples():
        key, group = score.key, by_key[score.key]
        bins = limits[score.source]
        place = max(n for n, own in enumerate(bins) if own["min_length"] <= score.length)
        if score.length < SELECT["min_length"]:
            reason = "too_short"
        elif score.length > SELECT["max_length"]:
            reason = "too_long"
        elif score.unknown_fraction > SELECT["max_unknown_fraction"]:
            reason = "too_many_unknown"
        elif score.distinct_3mer_ratio < SELECT["min_distinct_3mer_ratio"]:
            reason = "low_complexity"
        elif score.split == "train" and score.nll_per_residue < bins[place]["low"]:
            reason = "perplexity_too_low"
        elif score.split == "train" and score.nll_per_residue >= bins[place]["high"]:
            reason = "perplexity_too_high"
        else:
            reason = "kept"
        copies = group if score.split == "train" else group[:1]
        for number, record in enumerate(copies):
            again = number > 0 or key in run.near
            rows.append((key, record.id, record.source, score.split, reason, again, score.length))
    columns = ["key", "id", "source", "split", "reason", "again", "length"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def case(made: Filtered) -> tuple[Path, pd.DataFrame]:
    folder = made.folder / "filter"
    return folder, expected_records(made, folder)


def test_dropped_records_are_those_that_fail_a_rule_with_the_first_reason(
    case: tuple[Path, pd.DataFrame],
) -> None:
    folder, expected = case
    dropped = pd.read_parquet(folder / "dropped.parquet")
    failing = expected[expected.reason != "kept"]
    for column in ("key", "id", "source", "split", "reason", "length"):
        assert dropped[column].astype(failing[column].dtype).tolist() == failing[column].tolist()
    assert set(failing.reason) == set(REASONS[1:])
    reasons = dropped.set_index("id").reason
    for name, reason in (
        ("short", "too_short"),
        ("long", "too_long"),
        ("unknown", "too_many_unknown"),
        ("repeat", "low_complexity"),
    ):
        assert reasons[name] == reason


def test_counts_of_each_source_add_up(case: tuple[Path, pd.DataFrame]) -> None:
    folder, expected = case
    counts = pd.read_csv(folder / "counts.tsv", sep="\t").set_index(["source", "reason"])
    for source, records in expected.groupby("source"):
        again = records[records.again & (records.reason == "kept")]
        assert counts.sequences[source, "handled:redundant"] == len(again) > 0
        assert counts.residues[source, "handled:redundant"] == again.length.sum()
        rows = records[~records.again]
        assert counts.sequences[source, "in"] == len(rows)
        assert counts.residues[source, "in"] == rows.length.sum()
        for reason in REASONS:
            own = rows[rows.reason == reason]
            assert counts.sequences[source, reason] == len(own)
            assert counts.residues[source, reason] == own.length.sum()


def test_selected_rows_are_the_records_to_tokenise_in_order(
    made: Filtered, case: tuple[Path, pd.DataFrame]
) -> None:
    folder, expected = case
    failed = expected.reason != "kept"
    expected["stratum"] = np.select(
        [failed & expected.again, failed, expected.again],
        ["redundant_filtered", "filtered", "redundant"],
        "kept",
    )
    chosen = expected[~failed | (expected.split == "train")].reset_index(drop=True)
    selected = made.selected(folder)
    columns = ["key", "source", "split", "stratum"]
    assert selected[columns].values.tolist() == chosen[columns].values.tolist()
    assert set(selected.stratum) == {"kept", "filtered", "redundant", "redundant_filtered"}
    assert set(selected.split) == {"train", "valid", "ood"}
    assert set(selected[selected.split != "train"].stratum) == {"kept"}
    totals = {
        (row["split"], row["source"], row["stratum"]): (row["records"], row["tokens"])
        for row in json.loads((folder / "totals.json").read_text())
    }
    groups = chosen.groupby(["split", "source", "stratum"])
    assert totals == {place: (len(rows), int((rows.length + 1).sum())) for place, rows in groups}


def test_near_duplicates_add_strata_and_change_nothing_else(made: Filtered, tmp_path: Path) -> None:
    splits = ["dropped" if key in made.near else split for key, split in enumerate(made.splits)]
    split = write_split(tmp_path / "split", made.pool, splits)
    without = replace(made, folder=tmp_path, split=split, splits=splits, near={})
    shutil.copyfile(made.folder / "model.npz", tmp_path / "model.npz")
    without.score()
    first, plain = made.selected(made.folder / "filter"), without.selected(without.select())
    first, plain = (t[t.stratum.isin(["kept", "filtered"])] for t in (first, plain))
    assert first.values.tolist() == plain.values.tolist()
    for name in ("thresholds.json", "perplexity.tsv", "examples.tsv", "overlap.tsv"):
        ours = (made.folder / "filter" / name).read_text()
        assert ours == (tmp_path / "filter" / name).read_text(), name


def test_each_length_bin_of_a_source_loses_the_requested_share(made: Filtered) -> None:
    thresholds = json.loads((made.folder / "filter" / "thresholds.json").read_text())
    expected = expected_records(made, made.folder / "filter")
    passing = expected[(expected.split == "train") & expected.reason.str.match("kept|perplexity")]
    passing = passing[~passing.again]
    checked = 0
    for source, bins in thresholds["perplexity"].items():
        for own in bins:
            top = own["below_length"] or 10**9
            rows = passing[passing.length.between(own["min_length"], top - 1)]
            rows = rows[rows.source == source]
            assert len(rows) == own["sequences"]
            if own["sequences"] >= MIN_SEQUENCES:
                assert own["from_sequences"] == own["sequences"]
                assert np.mean(rows.reason == "perplexity_too_low") == pytest.approx(0.05, abs=4e-3)
                assert np.mean(rows.reason == "perplexity_too_high") == pytest.approx(0.1, abs=4e-3)
                checked += 1
            else:
                assert own["from_sequences"] > own["sequences"]
    assert checked
    assert thresholds["model"] == made.scores().model[0]


def test_held_out_sets_do_not_depend_on_the_thresholds(made: Filtered) -> None:
    loose = made.selected(made.select("loose", perplexity_quantiles=[0.0, 1.0]))
    tight = made.selected(made.select("tight", perplexity_quantiles=[0.3, 0.6]))
    out_loose, out_tight = (t[t.split != "train"].values.tolist() for t in (loose, tight))
    assert out_loose == out_tight
    kept = [t[(t.split == "train") & (t.stratum == "kept")] for t in (loose, tight)]
    n_loose, n_tight = map(len, kept)
    assert len(loose) == len(tight)  # what falls out goes to another stratum
    assert n_tight == pytest.approx(0.3 * n_loose, rel=0.05)
    dropped = pd.read_parquet(made.folder / "loose" / "dropped.parquet")
    assert not dropped.reason.str.startswith("perplexity").any()


def test_result_does_not_depend_on_the_number_of_parts(made: Filtered, other: Filtered) -> None:
    folder, expected = other.select(), made.folder / "filter"
    pd.testing.assert_frame_equal(other.selected(folder), made.selected(expected))
    for path in sorted(expected.iterdir()):
        if not path.name.startswith("part-"):
            assert sha256_of(folder / path.name) == sha256_of(path), path.name
    assert len(list(folder.glob("part-*.parquet"))) == len(other.pool.parts)


def test_selection_is_reproducible_to_the_byte(made: Filtered) -> None:
    again, first = made.select("again"), made.folder / "filter"
    names = sorted(path.name for path in first.iterdir())
    assert sorted(path.name for path in again.iterdir()) == names
    for name in names:
        assert sha256_of(again / name) == sha256_of(first / name), name


def test_examples_are_the_first_dropped_on_either_side(
    case: tuple[Path, pd.DataFrame], made: Filtered
) -> None:
    folder, expected = case
    examples = pd.read_csv(folder / "examples.tsv", sep="\t")
    for source in ("one", "two"):
        for reason in ("perplexity_too_low", "perplexity_too_high"):
            own = expected[(expected.source == source) & (expected.reason == reason)]
            shown = examples[(examples.source == source) & (examples.reason == reason)]
            assert shown.id.tolist() == own.id[~own.again].tolist()[:12]
            assert len(shown) == 12
    residues = made.records.set_index("id").sequence
    for row in examples.itertuples():
        assert residues[row.id][:60] == row.residues
        assert len(residues[row.id]) == row.length


def test_perplexity_table_counts_every_sequence_that_set_a_threshold(made: Filtered) -> None:
    folder = made.folder / "filter"
    table = pd.read_csv(folder / "perplexity.tsv", sep="\t")
    thresholds = json.loads((folder / "thresholds.json").read_text())["perplexity"]
    for (source, low), rows in table.groupby(["source", "min_length"]):
        own = next(b for b in thresholds[source] if b["min_length"] == low)
        bins = rows[rows.kind == "bin"]
        assert bins.sequences.sum() == own["sequences"]
        assert bins.low.iloc[1:].tolist() == bins.high.iloc[:-1].tolist()
        limit = rows[rows.kind == "threshold"].iloc[0]
        assert (limit.low, limit.high, limit.sequences) == (
            own["low"],
            own["high"],
            own["from_sequences"],
        )


def test_overlap_counts_the_sample_once_and_sees_repeats(made: Filtered) -> None:
    table = pd.read_csv(made.folder / "filter" / "overlap.tsv", sep="\t")
    expected = expected_records(made, made.folder / "filter")
    sampled = expected[(expected.split == "train") & ~expected.again]
    sampled = sampled[~sampled.reason.isin(["too_short", "too_long", "too_many_unknown"])]
    for source, rows in table.groupby("source"):
        own = sampled[sampled.source == source]
        assert rows.sequences.sum() == len(own)
        assert rows.residues.sum() == own.length.sum()
        assert rows.share.sum() == pytest.approx(1, abs=1e-4)
    low = table[table.low_complexity]
    assert low.sequences.sum() == (sampled.reason == "low_complexity").sum()
    repeat = low[low.residues == 120]  # PQPQ…, all of which tantan masks but the first unit
    assert repeat.masked.all()
    assert (repeat.masked_residues > 100).any()
    assert (table.masked_residues <= table.residues).all()


def test_selection_that_leaves_nothing_is_refused(made: Filtered) -> None:
    with pytest.raises(FilterError, match="no training sequence of 'one'"):
        made.select("refused", min_length=599)
    assert not list(made.folder.glob("*refused*"))


def flip(path: Path) -> None:
    """Change one bit in the middle of the scores."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    column = group.column(SCORE_SCHEMA.get_field_index("nll_per_residue"))
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(content)


def rescored(path: Path) -> None:
    table = pq.read_table(path)
    names = ["another model"] * len(table)
    place = table.schema.get_field_index("model")
    pq.write_table(table.set_column(place, "model", [names]), path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no scores of part 2"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "damaged"),
        (flip, "damaged"),
        (lambda path: pq.write_table(pq.read_table(path)[5:], path), "lacks 5 of"),
        (lambda path: path.write_bytes(path.with_name("part-0001.parquet").read_bytes()), "pool"),
        (lambda path: pq.write_table(pq.read_table(path).drop(["model"]), path), "no column model"),
        (rescored, "scored by 'another model', parts before it by '3-gram one"),
    ],
)
def test_damaged_missing_or_foreign_score_part_is_named(
    made: Filtered, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    scores = tmp_path / "scores"
    scores.mkdir()
    for part in made.pool.parts:
        name = f"{part_name(part.number)}.parquet"
        (scores / name).write_bytes((made.folder / "scores" / name).read_bytes())
    damage(scores / "part-0002.parquet")
    with pytest.raises(FilterError, match=message) as raised:
        made.select("refused", scores=str(scores))
    assert str(scores) in str(raised.value)
    if "no scores" not in message:
        assert "part-0002.parquet" in str(raised.value)
    assert not list(made.folder.glob("*refused*"))
