"""What a config leaves out has its default, and what it names of a study is its own."""

import copy
from pathlib import Path

import pytest
import yaml
from configs import read_config
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from plm_scaling.common.errors import ConfigError
from plm_scaling.config.derived import completed
from plm_scaling.config.load import read_study, record_config, validate_config
from plm_scaling.config.schema import Config
from plm_scaling.config.sweep import Sweep

SHORT = {"study": "mine", "corpora": {"mine": {"path": "my.faa.gz"}}}
WHOLE = validate_config(SHORT, "short").model_dump(mode="json")


def leaves(block, path=()):
    """The keys with a default, of blocks and of theirs."""
    for name, field in block.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*path, name))
        elif name not in ("study", "corpora"):
            yield (*path, name)


@settings(deadline=None, max_examples=40)
@given(st.sets(st.sampled_from(sorted(leaves(Config)))))
def test_defaults_take_the_place_of_any_keys_left_out(missing):
    values = copy.deepcopy(WHOLE)
    for *blocks, key in missing:
        block = values
        for name in blocks:
            block = block[name]
        del block[key]
    if ("data", "sources") in missing:  # else the corpora are mixtures of what the table has
        values["corpora"] = SHORT["corpora"]
    assert validate_config(values, "some").model_dump(mode="json") == WHOLE


def test_defaults_are_the_full_study_s_where_size_is_not_the_matter(root):
    full = read_config(root / "config.yaml").model_dump()
    short = validate_config(SHORT, "short").model_dump()
    differ = {
        f"{block}.{key}"
        for block in ("tokens", "dedup", "split", "filter", "training", "laws", "runs", "sweep")
        for key in full[block]
        if full[block][key] != short[block][key]
    }
    assert differ == {
        *("split.valid_fraction", "split.reference_fraction", "filter.reference_source"),
        *("training.valid_rows", "sweep.corpora", "sweep.budgets_flops"),
        *("sweep.extra", "sweep.transfer", "laws.fits"),
    }


def test_rows_of_cells_have_what_the_sweep_has_first(monkeypatch):
    sweep = {"corpora": ["mine"], "recipes": ["prenorm", "study"], "seeds": [3, 4]}
    sweep |= {"budgets_flops": [1e15, 1e16], "stages": [{"from_flops": 1e16}]}
    sweep["extra"] = [
        {"objective": "clm", "size": "6M", "flops": 1e17},
        {"objective": "clm", "size": "6M", "flops": 1e17, "recipe": "study", "corpus": "other"},
    ]
    sweep["transfer"] = [{"objective": "mlm", "size": "6M", "flops": 1e15, "source_flops": 1e15}]
    sweep["designed"] = [{"objective": "clm", "flops": 1e15, "sizes": ["6M"]}]
    sweep["tuning"] = {"sizes": ["6M", "10M"], "budgets_flops": [1e14, 1e15]}
    corpora = {"other": {"path": "a.fasta"}, "mine": {"path": "b.fasta"}}
    made = validate_config({"study": "s", "corpora": corpora, "sweep": sweep}, "rows").sweep
    assert [(one.corpus, one.recipe) for one in (*made.extra, *made.transfer)] == [
        ("mine", "prenorm"), ("other", "study"), ("mine", "prenorm"),
    ]  # fmt: skip
    assert made.designed[0].seeds == [3, 4]
    monkeypatch.setattr(Sweep.model_fields["recipes"], "default", ["prenorm"])
    monkeypatch.setattr(Sweep.model_fields["seeds"], "default", [7])
    del sweep["recipes"], sweep["seeds"]
    rows = completed({"corpora": corpora, "sweep": sweep})["sweep"]
    assert [rows[name][0]["recipe"] for name in ("extra", "transfer")] == ["prenorm"] * 2
    assert rows["designed"][0]["seeds"] == [7]
    assert made.tuning.learning_rate_factors == [0.25, 0.5, 1, 2, 4]
    assert made.tuning.batch_factors == [1]
    assert (made.stages[0].sizes, made.stages[0].reach, made.stages[0].max_seeds) == (5, 1.7, 1)


@pytest.mark.parametrize("wrong", [None, {"clm": 1}, ["clm"], [None], [3]])
def test_rows_of_cells_that_are_none_are_refused_by_their_key(wrong):
    for name in ("extra", "transfer", "designed"):
        with pytest.raises(ConfigError, match=rf"sweep\.{name}"):
            validate_config(SHORT | {"sweep": {name: wrong}}, "rows")


def test_default_of_a_corpus_s_files_is_a_source_of_its_name():
    config = validate_config(SHORT, "short")
    assert config.data.own == {"mine": {"path": "my.faa.gz"}}
    assert config.corpora["mine"].mixture == {"mine": 1}
    assert (config.data.name, config.filter.reference_source) == ("mine", "mine")
    assert config.sweep.corpora == ["mine"]


def test_default_precision_is_what_the_machine_can_do():
    assert validate_config(SHORT, "short").training.precision == "bf16"
    on_cpus = validate_config(SHORT | {"machine": {"backend": "cpu"}}, "short")
    assert on_cpus.training.precision == "fp32"


def test_corpus_of_files_and_a_source_of_the_table():
    mixed = {"path": ["a.faa", "b.faa"], "mixture": {"mine": 0.25, "uniref50": 0.75}}
    config = validate_config(SHORT | {"corpora": {"mine": mixed}}, "short")
    assert config.sources == ["mine", "uniref50"]
    assert config.data.own == {"mine": {"path": ["a.faa", "b.faa"]}}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"corpora": {"mine": {"path": "a", "mixture": {"b": 1}}}}, "gives these files no share"),
        ({"data": {"sources": "my.tsv"}}, "corpora.mine.path: data.sources names a table"),
        ({"data": {"sources": {"mine": {"path": "a"}}}}, "data.sources has 'mine' too"),
        ({"corpora": {"mine": {"path": [["a"]]}}}, "data.sources: mine.path"),
        ({"corpora": {"mine": 5}}, "corpora.mine"),
        ({"data": 5}, "data: "),
        ({"filter": {"min_lenght": 5}}, "did you mean 'min_length'"),
    ],
)
def test_files_of_a_corpus_that_cannot_be_are_refused(more, said):
    with pytest.raises(ConfigError, match=said) as error:
        validate_config(SHORT | more, "short")
    assert "\n" not in str(error.value)


def written(folder: Path, name: str, values: dict) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(values))
    return path


def test_study_of_its_own_has_nothing_of_the_full_one(root, tmp_path):
    path = written(tmp_path, "my.yaml", SHORT)
    config, line = read_study([path], {}, root / "config.yaml")
    assert config == validate_config(SHORT, "short")
    assert "keys have their defaults" in line
    assert "results/mine/config.yaml" in line
    record_config(config, tmp_path / "whole.yaml")
    assert read_study([tmp_path / "whole.yaml"], {}, root / "config.yaml") == (config, "")


@pytest.mark.parametrize("named", [True, False])  # the full study, or left to be understood
def test_file_beside_a_study_replaces_corpora_and_sweep_and_merges_the_rest(root, tmp_path, named):
    full = root / "config.yaml"
    beside = {
        "corpora": {"mine": {"path": "my.faa.gz"}},
        "sweep": {"budgets_flops": [1e17], "objectives": ["clm"]},
        "filter": {"reference_source": "mine"},
        "laws": {"fits": ["isoflop"]},
    }
    path = written(tmp_path, "beside.yaml", beside)
    config, line = read_study([full, path] if named else [path], {"seed": 7}, full)
    assert [*config.corpora] == ["mine"]
    assert (config.sweep.budgets_flops, config.sweep.extra) == ([1e17], [])
    assert (config.study, config.seed, config.laws.bootstrap) == ("full", 7, 4000)
    assert f"corpora and sweep are those of {path} alone" in line
    assert line.startswith(f"config {full}") or line.startswith("config config.yaml")


def test_full_study_says_nothing_of_what_it_was_made_of(root, tmp_path):
    site = written(tmp_path, "site.yaml", {"machine": {"gpu": "A100"}})
    config, line = read_study([site], {}, root / "config.yaml")
    assert (config.study, config.machine.gpu, config.machine.threads) == ("full", "A100", 8)
    assert line == ""


def test_file_that_is_no_config_is_one_line(tmp_path):
    for text in ("a: [", "- a\n", ""):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yaml") as error:
            read_study([tmp_path / "bad.yaml"], {})
        assert "\n" not in str(error.value)
