"""Corpora as the config names them: code, near-duplicates, new families, downstream sets."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from source_tables import local_row, write_table
from workflows import SEQUENCES, Workflow, take

from plm_scaling.common.files import read_json
from plm_scaling.common.parts import part_name
from plm_scaling.pool.read import Pool
from plm_scaling.sources.read.fasta import read_fasta

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_searches")]


# The quick one takes a tenth of the sequences, and searches that are less sensitive.
@pytest.mark.parametrize("as_it_is", [False, pytest.param(True, marks=pytest.mark.long)])
def test_data_constrained_config_makes_all_its_corpora_from_the_demo_sources(
    root, tmp_path, as_it_is
):
    config = yaml.safe_load((root / "config/data-constrained.yaml").read_text())
    if not as_it_is:
        config["split"] |= {"clustering": "linclust", "check_sensitivity": 4}
        names = ("uniref_demo", "metagenome_demo")
        files = {name: tmp_path / f"few/{name}.fasta.gz" for name in names}
        tmp_path.joinpath("few").mkdir()
        for name, path in files.items():
            take(root / f"resources/demo/{name}.fasta.gz", 2 * SEQUENCES, path)
        config["training"]["valid_rows"] = 20
        for corpus in config["corpora"].values():
            if corpus["unique_tokens"]:
                corpus["unique_tokens"] = {"uniref_demo": 1e5}
        config["data"]["sources"] = {name: {"path": str(path)} for name, path in files.items()}
    config["sweep"]["budgets_flops"] = [1e9]  # an eighth of its smallest
    workflow = Workflow(root, tmp_path, config)
    workflow.run("data", "results/data-constrained/sweep.tsv")
    manifest = json.loads((workflow.data / "tokens/manifest.json").read_text())
    train = manifest["splits"]["train"]["sources"]
    for source in ("uniref_demo", "metagenome_demo"):
        assert set(train[source]["strata"]) == {
            *("kept", "filtered", "redundant", "redundant_filtered"),
        }
        assert set(manifest["splits"]["valid"]["sources"][source]["strata"]) == {"kept"}
    assert train["code_demo"]["kind"] == "code"
    sweep = pd.read_csv(workflow.results / "sweep.tsv", sep="\t")
    chosen = sweep[(sweep.flops_budget == 1e9) & (sweep["size"] == "1.3k")]
    chosen = chosen[chosen.objective == "clm"].set_index("corpus")
    cells = [chosen.loc[corpus, "cell"] for corpus in ("repeat", "code")]
    workflow.run(*(f"results/data-constrained/runs/{cell}/result.json" for cell in cells))
    for cell in cells:
        record = json.loads((workflow.results / f"runs/{cell}/result.json").read_text())
        assert record["status"] == "finished"
        assert 2.5 < record["loss"] < 3.1
        assert record["unique_tokens"] <= record["tokens"]


def test_new_families_are_held_out_and_homologues_of_benchmarks_dropped(fresh, root):
    """Sources of two release dates, and a benchmark of structure that shares families with the
    first: that the study names it is enough."""
    files = {}
    for name, source in (("old", "uniref_demo"), ("new", "metagenome_demo")):
        files[name] = fresh.folder / f"in.{name}.fasta.gz"
        take(root / f"resources/demo/{source}.fasta.gz", SEQUENCES, files[name])
    old = next(read_fasta(files["old"]))
    texts = [one.decode() for one in old.sequences[40:70]]
    rows = {"seq": texts, "label": [[[0, 9]]] * len(texts)}
    pd.DataFrame(rows).to_parquet(fresh.folder / "test.parquet")
    benchmark = {"task": "contacts", "form": "table", "split": "", "metric": "p_at_l"}
    own = {"touching": benchmark | {"files": ["test.parquet"]}}
    fresh.config["downstream"] |= {"own": own, "datasets": ["touching"]}
    rows = [
        local_row(name, path) | {"released": "2024-06-01" if name == "new" else "2020-06-01"}
        for name, path in files.items()
    ]
    fresh.config["data"]["sources"] = str(write_table(fresh.folder / "sources.tsv", *rows))
    fresh.config["corpora"]["demo"]["mixture"] = {"old": 0.5, "new": 0.5}
    fresh.config["filter"]["reference_source"] = "old"
    fresh.config["split"] |= {"ood_after": "2023-01-01", "downstream": None}
    fresh.run("data")
    assert read_json(fresh.data / "kept_out.json") == ["touching_tests"]
    fresh.config["downstream"]["datasets"] = ["globins"]  # once there are data, they stay
    assert fresh.planned("data") == {}
    counts = pd.read_csv(fresh.data / "split/counts.tsv", sep="\t").set_index(["source", "reason"])
    assert counts.loc[("old", "homologous_to_downstream"), "sequences"] > 0
    splits = pd.read_csv(fresh.data / "split/splits.tsv", sep="\t").set_index(["split", "source"])
    assert splits.loc[("ood", "new"), "sequences"] > 100
    assert ("ood", "old") not in splits.index or splits.loc[("ood", "old"), "sequences"] == 0
    report = json.loads((fresh.data / "contamination.json").read_text())
    assert report["passed"]
    assert {"valid", "ood", "downstream"} == set(report["held_out"])
    # The test set's own sequences are among those of the old source, and none is trained on.
    tested = {one.decode() for one in old.ids[40:70]}
    trained = set()
    for part in Pool.open(fresh.data / "pool/protein").parts:
        chosen = pq.read_table(fresh.data / f"filter/{part_name(part.number)}.parquet").to_pandas()
        keys = set(chosen.loc[chosen["split"] == "train", "key"] - part.first_key)
        for table in part.records(["key", "id"]):
            trained |= {row["id"] for row in table.to_pylist() if row["key"] in keys}
    assert trained
    assert not tested & trained
    for output in ("counts.tsv", "splits.tsv", "tool.json"):  # as Snakemake does before the split
        (fresh.data / "split" / output).unlink()
    fresh.config["split"]["valid_fraction"] = 0.11
    planned, said = fresh.plan("data")
    assert "split_clusters" in planned
    assert not {"clean_source", "prepare_task"} & set(planned)
    assert "clean/touching_tests" in said
