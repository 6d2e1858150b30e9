"""The tables that ship, against those made from the released logs."""

import logging

import pandas as pd
import pytest

from plm_scaling.cheng2024.logs.importer import import_published
from plm_scaling.cheng2024.logs.shipped import (
    CURVES,
    SHIPPED,
    TABLES,
    alike,
    compare_with_shipped,
    needed,
    read_tables,
    write_shipped,
)


@pytest.fixture
def files(imported):
    return {name: imported.folder / name for name in TABLES}


def test_shipped_tables_are_what_the_released_logs_give(files, caplog):
    with caplog.at_level(logging.INFO, logger="plm_scaling"):
        compare_with_shipped(files)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "is equal to them" in caplog.text


def test_one_other_loss_is_found_and_its_table_named(files, tmp_path, caplog):
    curves = pd.read_parquet(files[CURVES])
    last = curves.index[curves["split"] == "valid"][-1]
    curves.loc[last, "loss"] += 1e-6
    curves.to_parquet(tmp_path / CURVES)
    compare_with_shipped(files | {CURVES: tmp_path / CURVES})
    assert "not equal to what ships: curves.parquet;" in caplog.text


def test_import_without_logs_gives_the_tables_that_ship(tmp_path):
    runs, audit, curves, notebook = (tmp_path / name for name in TABLES)
    import_published(runs, curves, audit, notebook)
    for name in TABLES:
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes()


def test_shipped_tables_are_small_and_writing_them_again_changes_nothing(tmp_path):
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1.5e6
    write_shipped(SHIPPED, tmp_path)
    again = read_tables({name: tmp_path / name for name in TABLES})
    for name, table in read_tables({name: SHIPPED / name for name in TABLES}).items():
        assert alike(again[name], table)
        assert again[name].dtypes.equals(table.dtypes)


def test_training_losses_and_unusable_runs_do_not_ship():
    tables = read_tables({name: SHIPPED / name for name in TABLES})
    runs, curves = tables["runs.csv"], tables[CURVES]
    assert set(curves["split"]) == {"valid"}
    assert set(curves["run_id"]) == set(runs.loc[runs["excluded"] == "", "run_id"])
    assert all(needed(tables)[name].equals(tables[name]) for name in TABLES)
