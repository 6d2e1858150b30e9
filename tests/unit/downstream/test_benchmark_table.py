"""The table of benchmarks, and its files fetched, verified and prepared."""

import json
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from plm_scaling.common.errors import DownstreamError, SourceError
from plm_scaling.common.files import read_json, sha256_of, write_json
from plm_scaling.downstream.datasets import PREPARED, advice, chosen_datasets, kept_out
from plm_scaling.downstream.datasets import test_files as files_of_tests
from plm_scaling.downstream.prepare import fetch_and_prepare, fetch_task, prepare_task
from plm_scaling.downstream.similarity.expose import write_tests
from plm_scaling.downstream.table import COLUMNS, SHIPPED, find_dataset, read_datasets
from plm_scaling.downstream.tasks import TASKS
from plm_scaling.sources.read.fasta import read_fasta


@pytest.fixture
def table(tmp_path):
    """A table with the demo's assays, to be fetched, in rows that a test may change."""
    for file in ("fitness_small.csv", "fitness_demo.zip"):
        shutil.copy(SHIPPED.parent / "downstream" / file, tmp_path / file)
    rows = [
        dict.fromkeys(COLUMNS, "")
        | {"dataset": "mine", "task": "fitness", "form": "proteingym_substitutions"}
        | {"metric": "spearman", "path": file, "checksum": f"sha256:{sha256_of(tmp_path / file)}"}
        for file in ("fitness_small.csv", "fitness_demo.zip")
    ]

    def write(**changes):
        lines = [COLUMNS, *([(row | changes)[name] for name in COLUMNS] for row in rows)]
        path = tmp_path / "downstream.tsv"
        path.write_text("".join("\t".join(line) + "\n" for line in lines))
        return path

    write.rows = rows
    return write


@pytest.fixture
def address(tmp_path):
    """Where a local server has the files of the folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_table_that_ships():
    datasets = read_datasets(SHIPPED)
    assert {one.task for one in datasets.values()} >= {"fitness", "regression", "contacts"}
    for one in datasets.values():
        for file in one.files:
            assert file.licence
            assert file.citation
            assert file.checked
    gb1 = datasets["gb1_low_vs_high"]
    assert gb1.split == "low_vs_high"
    assert [file.file for file in gb1.files] == ["flip_gb1_splits.zip", "flip_gb1_5LDE_1.fasta"]


def test_prepared_from_files_of_this_machine(table, tmp_path):
    out = tmp_path / "prepared"
    prepare_task(table(), "mine", tmp_path / "raw", out)
    assert read_json(out / "task.json")["task"] == "fitness"
    assert {path.name for path in out.iterdir()} >= {"items.parquet", "counts.tsv", "task.json"}


def test_another_checksum_is_refused(table, tmp_path):
    table.rows[1]["checksum"] = "sha256:" + "0" * 64
    with pytest.raises(SourceError, match=r"fitness_demo.zip has sha256:.*is stated"):
        prepare_task(table(), "mine", tmp_path / "raw", tmp_path / "prepared")
    assert not (tmp_path / "prepared").exists()


def test_fetched_by_the_code_of_sources(table, address, tmp_path):
    for row in table.rows:
        row["url"], row["path"] = f"{address}/{row['path']}", ""
    path, raw, out = table(), tmp_path / "raw", tmp_path / "prepared"
    fetch_and_prepare(path, "mine", raw, out)
    assert (raw / ".fitness_demo.zip.verified.json").is_file()
    assert (out / "items.parquet").is_file()
    fetch_task(path, "mine", "fitness_demo.zip", tmp_path / "again.zip")
    assert sha256_of(tmp_path / "again.zip") == sha256_of(tmp_path / "fitness_demo.zip")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bytes": "many"}, "column bytes: 'many'"),
        ({"url": "ftp://a/b"}, "give one of the two"),
        ({"dataset": "my set"}, "column name: 'my set'"),
    ],
)
def test_bad_rows_name_line_and_column(table, changes, said):
    with pytest.raises(DownstreamError, match=said) as error:
        read_datasets(table(**changes))
    assert "line 2" in str(error.value)


def test_rows_of_a_dataset_agree(table):
    table.rows[1]["task"] = "contacts"
    with pytest.raises(DownstreamError, match="line 3, column task: differs from the row of mine"):
        read_datasets(table())


def test_unknown_names_are_listed(table):
    with pytest.raises(DownstreamError, match="has no dataset 'yours'; it has mine"):
        find_dataset(table(), "yours")


def test_unknown_task_is_said(table, tmp_path):
    with pytest.raises(DownstreamError, match=f"there are {', '.join(TASKS)}"):
        prepare_task(table(task="folding"), "mine", tmp_path / "raw", tmp_path / "prepared")


def test_a_table_of_something_else_is_refused(tmp_path):
    (tmp_path / "t.tsv").write_text("name\turl\n")
    with pytest.raises(DownstreamError, match="line 1: the columns must be dataset, task"):
        read_datasets(tmp_path / "t.tsv")


OWN = {
    **{"task": "ood_perplexity", "form": "fasta", "split": "", "metric": "nats_per_residue"},
    "files": ["new.fasta"],
}


def test_a_config_names_datasets_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.fasta").write_text(">a\nMKVLAAGI\n>b\nMKWWYACD\n")
    known = chosen_datasets(SHIPPED, {"mine": OWN}, ["mine", "globins"])
    assert [*known] == [*read_datasets(SHIPPED), "mine"]
    assert [file.path for file in known["mine"].files] == ["new.fasta"]
    prepare_task(SHIPPED, json.dumps({"mine": OWN}), tmp_path / "raw", tmp_path / "out")
    facts = read_json(tmp_path / "out/task.json")
    assert facts == {"task": "ood_perplexity", "dataset": "mine", "metric": "nats_per_residue"}
    assert len(pd.read_parquet(tmp_path / "out/items.parquet")) == 2


@pytest.mark.parametrize(
    ("own", "names", "message"),
    [
        ({"globins": OWN}, [], "downstream.own.globins: .* take another"),
        ({"mine": OWN | {"task": "odd"}}, [], "downstream.own.mine.task: unknown task 'odd'"),
        ({"mine": OWN}, ["yours"], "has 'yours'; there are .*, mine"),
        ({"my own": OWN}, [], "downstream.own.my own, column name"),
    ],
)
def test_datasets_that_cannot_be_are_named(own, names, message):
    with pytest.raises(DownstreamError, match=message):
        chosen_datasets(SHIPPED, own, names)


def test_test_proteins_of_structures_are_a_source_for_the_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare_task(SHIPPED, "globins", tmp_path / "raw", PREPARED / "globins")
    datasets = chosen_datasets(SHIPPED, {}, [])
    files = files_of_tests(["globins_tests", "fold_tests", "odd_tests", "mine"], datasets)
    assert list(files) == ["globins_tests", "fold_tests"]
    write_tests(PREPARED / "globins", files["globins_tests"])
    items = pd.read_parquet(PREPARED / "globins/items.parquet")
    records = [*read_fasta(files["globins_tests"])]
    found = [one.decode() for batch in records for one in batch.sequences]
    assert found == items["sequence"].tolist()
    # A benchmark that is prepared again, and one that is no more declared but was kept out once.
    prepare_task(SHIPPED, "globins", tmp_path / "raw", PREPARED / "globins")
    assert files_of_tests(["globins_tests"], {}) == {"globins_tests": files["globins_tests"]}


def test_what_is_kept_out_follows_the_benchmarks_until_there_are_data(tmp_path):
    datasets = chosen_datasets(SHIPPED, {}, [])
    names = ["fitness_demo", "globins", "gb1_demo", "fold"]
    assert kept_out(None, datasets, names, tmp_path) == ["globins_tests", "fold_tests"]
    assert kept_out(["mine"], datasets, names, tmp_path) == ["mine"]
    assert kept_out([], datasets, names, tmp_path) == []
    write_json(tmp_path / "kept_out.json", ["globins_tests"])
    assert kept_out(None, datasets, names, tmp_path) == ["globins_tests"]
    assert kept_out(None, datasets, [], tmp_path) == ["globins_tests"]
    assert kept_out([], datasets, names, tmp_path) == []
    assert "split.downstream: [globins_tests, fold_tests]" in advice("fold", ["globins_tests"])


def test_data_of_earlier_versions_say_that_nothing_was_kept_out_or_ask(tmp_path):
    datasets = chosen_datasets(SHIPPED, {}, [])
    split, report = tmp_path / "split/tool.json", tmp_path / "contamination.json"
    write_json(split, {"mmseqs": "18"})
    asks = pytest.raises(DownstreamError, match=r"name the test sets .* split\.downstream, or \[\]")
    with asks:
        kept_out(None, datasets, ["globins"], tmp_path)
    assert kept_out(["mine"], datasets, ["globins"], tmp_path) == ["mine"]
    write_json(report, {"held_out": {"valid": {}, "downstream": {}}})
    with asks:
        kept_out(None, datasets, ["globins"], tmp_path)
    write_json(report, {"held_out": {"valid": {}}})
    assert kept_out(None, datasets, ["globins"], tmp_path) == []
    split.unlink()  # as Snakemake does when the split fails
    assert kept_out(None, datasets, ["globins"], tmp_path) == []


def test_test_proteins_that_an_earlier_version_wrote_stay_as_they_are(tmp_path):
    out = tmp_path / "globins"
    out.mkdir()
    tests = out / "test.fasta"
    tests.write_text(">a\nMKV\n")
    os.utime(tests, (1e9, 1e9))
    prepare_task(SHIPPED, "globins", tmp_path / "raw", out)
    assert (out / "items.parquet").is_file()
    assert (tests.read_text(), tests.stat().st_mtime) == (">a\nMKV\n", 1e9)
