"""The schema refuses mistakes with a message that names the fix, and the docs follow it."""

import copy
import subprocess
import sys

import pytest
import yaml
from configs import read_config
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from plm_scaling.common.errors import ConfigError
from plm_scaling.config.document import comment_config, document_config
from plm_scaling.config.load import validate_config
from plm_scaling.config.numbers import Positive


@pytest.fixture(scope="module")
def demo(root):
    return yaml.safe_load((root / "config/demo.yaml").read_text())


def changed(config, path, value):
    config = copy.deepcopy(config)
    block = config
    *parents, last = path.split(".")
    for part in parents:
        block = block[int(part) if isinstance(block, list) else part]
    if value is ...:
        del block[last]
    else:
        block[last] = value
    return config


@pytest.mark.parametrize(
    "name",
    [
        *("config.yaml", "config/full-designed.yaml"),
        *("config/demo.yaml", "config/data-constrained.yaml"),
    ],
)
def test_config_of_the_repository_is_valid(root, name):
    assert read_config(root / name).study


STAGE = {"from_flops": 4e9, "sizes": 4, "reach": 1.2, "max_seeds": 1}
DESIGNED = {"objective": "clm", "flops": 2e9, "sizes": ["890"], "seeds": [1]}


@pytest.mark.parametrize(
    ("path", "value", "fragments"),
    [
        ("splt", {}, ["unknown key 'splt'", "'split'"]),
        (
            "filter.perplexity_quantile",
            [0, 1],
            ["filter.perplexity_quantile", "'perplexity_quantiles'"],
        ),
        ("sweep.shapes.890.layer", 1, ["sweep.shapes.890.layer", "'layers'"]),
        ("training.batch_tokens.0.valu", 1, ["batch_tokens", "'value'"]),
        ("seed", "one", ["seed", "'one'"]),
        ("seed", True, ["seed"]),
        ("dedup.min_seq_id", "high", ["dedup.min_seq_id", "'high'"]),
        ("dedup.min_seq_id", 90, ["dedup.min_seq_id", "90"]),
        ("study", ..., ["'study' is missing"]),
        ("corpora", ..., ["'corpora' is missing", "{path: my.faa.gz}"]),
        ("corpora.demo.mixture", {"uniref_demo": 0.5, "metagenome_demo": 0.4}, ["sum", "0.9"]),
        ("corpora.demo.unique_tokens", {"uniref": 1e6}, ["unique_tokens", "'uniref'"]),
        ("corpora.demo.unique_tokens", 0, ["unique_tokens"]),
        ("corpora.demo.dedup", "yes", ["corpora.demo.dedup"]),
        ("corpora.demo.filtre", True, ["'corpora.demo.filtre'", "'filter'"]),
        ("sweep.corpora", ["dmeo"], ["unknown corpus 'dmeo'", "demo"]),
        ("data.parts", 3, ["data.parts", "power of two"]),
        ("data.sources", {"mine": "my.fasta"}, ["data.sources: mine: give {path: ", "'my.fasta'"]),
        ("data.sources", {"mine": {"path": ["a", ["b"]]}}, ["data.sources: mine.path: give one"]),
        ("data.sources", {"my own": {"path": "a"}}, ["data.sources: 'my own': give a name"]),
        (
            "corpora.demo.mixture",
            {f"s{i}": 1 / 128 for i in range(128)},
            ["corpora: 128 sources, at most 127 are possible"],
        ),
        ("split.ood_after", "last year", ["split.ood_after"]),
        ("split.valid_fraction", 0.0, ["split.valid_fraction", "greater than 0"]),
        ("split.valid_fraction", 0.9, ["split", "nothing for training"]),
        ("split.check_sensitivity", 3.9, ["split", "check_sensitivity is below sensitivity"]),
        ("filter.min_length", 10**6, ["min_length is above max_length"]),
        ("filter.length_bins", [], ["length_bins"]),
        ("filter.length_bins", [0, 100, 100], ["length_bins", "rise"]),
        ("filter.length_bins", [0, 100, 50], ["length_bins", "rise"]),
        ("filter.length_bins", [100, 200], ["length_bins", "begin with 0"]),
        ("filter.perplexity_quantiles", [0.9, 0.1], ["low < high"]),
        ("filter.perplexity_quantiles", [0.5, 0.5], ["low < high"]),
        ("filter.perplexity_quantiles", [-0.1, 0.5], ["perplexity_quantiles"]),
        ("filter.perplexity_quantiles", [0.5, 1.1], ["perplexity_quantiles"]),
        ("filter.reference_source", "elsewhere", ["reference_source", "elsewhere"]),
        ("sweep.objectives", ["clm", "glm"], ["sweep.objectives", "glm"]),
        ("sweep.designed", [DESIGNED | {"flops": 1.5e9}], ["clm at 1.5e+09", "budgets_flops"]),
        ("sweep.designed", [DESIGNED, DESIGNED], ["clm at 2e+09 is there twice"]),
        ("sweep.designed", [DESIGNED | {"flops": 4e9}], ["clm at 4e+09", "later stage"]),
        ("sweep.stages", [STAGE, STAGE], ["stages", "must rise"]),
        ("sweep.stages", [STAGE | {"from_flops": 1e9}], ["one of budgets_flops below the first"]),
        ("sweep.stages", [STAGE | {"from_flops": 3e10}], ["one from each on"]),
        ("sweep.stages.0.sizes", 3, ["sweep.stages.0.sizes", "greater than or equal to 4"]),
        ("data.name", "../outside", ["data.name"]),
        ("data.name", "a$(b)", ["data.name"]),
        ("study", "a b", ["study"]),
        ("sweep.shapes.890.heads", 3, ["heads"]),
        ("training.peak_learning_rate.clm.0.from_parameters", 5, ["from_parameters"]),
        ("training.batch_tokens", 512, ["training.batch_tokens: give a table", "512"]),
        (
            "training.batch_tokens",
            {"factor": 0.58, "token": 0.571, "parameters": 0},
            ["'training.batch_tokens.tokens' is missing", "key 'training.batch_tokens.token', did"],
        ),
        (
            "training.batch_tokens",
            {"factor": 0.58, "tokens": 0.571, "parameters": 0, "batch": 0.5},
            ["training: batch_tokens: a batch is no power of itself"],
        ),
        (
            "training.peak_learning_rate.clm",
            {"factor": -1, "parameters": 0, "tokens": 0},
            ["training.peak_learning_rate.clm.factor: ", "greater than 0, found -1"],
        ),
        (
            "training.peak_learning_rate.clm.0.value",
            "high",
            ["training.peak_learning_rate.clm.0.value: ", "'high'"],
        ),
        ("sweep.axes", {"learning_rates": [1]}, ["sweep.axes.learning_rates"]),
        ("sweep.axes", {"learning_rate_factor": [0.5, 2]}, ["axes.learning_rate_factor: 1, which"]),
        ("sweep.axes", {"batch_factor": [0, 1]}, ["axes.batch_factor", "above 0"]),
        ("sweep.axes", {"mask_ratio": [0.15, 1.5]}, ["axes.mask_ratio", "at most 1"]),
        ("sweep.axes", {"mask_ratio": [0.1, 0.2]}, ["axes.mask_ratio: 0.15, which"]),
        ("sweep.axes", {"weight_decay": [0]}, ["axes.weight_decay: 0.1, which"]),
        ("sweep.axes", {"weight_decay": [0.1, 0.1]}, ["axes.weight_decay", "twice"]),
        ("sweep.tuning", {"sizes": ["890"]}, ["'sweep.tuning.budgets_flops' is missing"]),
        ("laws.fits", ["tuning"], ["tuning needs cells in sweep.tuning"]),
        ("laws.axes", "first", ["laws.axes", "'best' or 'all'"]),
        ("training.mup", {"base_width": 8}, ["'training.mup.base_channels' is missing"]),
        ("training.mup", {"base_width": 8, "base_channels": 8}, ["training", "init_std", "one"]),
        ("machine.gpu", "H1000", ["'H1000'", "H100,"]),
        ("machine.backend", "gpu", ["machine.backend", "'gpu'"]),
        ("machine.utilisation.0.value", 1.5, ["utilisation", "at most 1"]),
        ("machine.utilisation.0.from_parameters", 5, ["utilisation", "from_parameters"]),
        ("machine.layouts", {"7.3B": {"tensor": 2}}, ["unknown size '7.3B'", "7.2B"]),
        ("machine.layouts", {"7.2B": {"tensors": 2}}, ["machine.layouts.7.2B.tensors", "'tensor'"]),
    ],
)
def test_config_with_a_mistake_is_refused_naming_key_and_remedy(demo, path, value, fragments):
    with pytest.raises(ConfigError) as error:
        validate_config(changed(demo, path, value), "my.yaml")
    message = str(error.value)
    assert message.startswith("my.yaml: ")
    for fragment in fragments:
        assert fragment in message


HOSTILE = (
    "a b",
    "a;b",
    "$(touch pwned)",
    "`b`",
    "a'b",
    'a"b',
    "a\nb",
    "a\n",
    "../a",
    "-a",
    "{a}",
    "",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_config_names_that_become_files_or_words_of_a_command_are_plain(demo, name):
    """Whoever must have other characters has them in paths, which are quoted."""
    corpus = demo["corpora"]["demo"]
    shape = demo["sweep"]["shapes"]["890"]
    for path, value, key in (
        ("study", name, "study"),
        ("data.name", name, "data.name"),
        ("corpora", {"demo": corpus, name: corpus}, "corpora"),
        ("corpora.demo.mixture", {name: 1.0}, "corpora.demo.mixture"),
        ("corpora.demo.unique_tokens", {name: 10}, "corpora.demo.unique_tokens"),
        ("filter.reference_source", name, "filter.reference_source"),
        ("split.downstream", [name], "split.downstream"),
        ("sweep.corpora", [name], "sweep.corpora"),
        ("sweep.sizes", [name], "sweep.sizes"),
        ("sweep.shapes", {name: shape}, "sweep.shapes"),
        ("machine.gpu", name, "machine.gpu"),
        ("machine.layouts", {name: {}}, "machine.layouts"),
    ):
        with pytest.raises(ConfigError, match=rf"my\.yaml: .*{key}"):
            validate_config(changed(demo, path, value), "my.yaml")


def test_config_of_a_mistaken_table_says_nothing_of_power_laws(demo):
    wrong = changed(demo, "training.batch_tokens.0.value", -5)
    with pytest.raises(ConfigError) as error:
        validate_config(wrong, "my.yaml")
    assert "training.batch_tokens.0.value: " in str(error.value)
    assert "factor" not in str(error.value)
    assert str(error.value).count(";") == 0


def test_config_with_several_mistakes_names_all_of_them(demo):
    config = changed(changed(demo, "seed", -1), "dedup.coverage", 2)
    with pytest.raises(ConfigError, match=r"(?s)seed.*dedup\.coverage|dedup\.coverage.*seed"):
        validate_config(config, "my.yaml")


@given(st.floats(1e3, 1e30, allow_nan=False))
def test_config_number_written_without_a_dot_is_a_number(budget):
    text = f"{budget:e}".replace("e+", "e")  # YAML reads 1.5e18 as text
    assert TypeAdapter(Positive).validate_python(text, strict=True) == float(text)


def test_config_docs_are_what_the_schema_generates(root):
    assert (root / "docs/config.md").read_text() == document_config(root / "config.yaml"), (
        "docs/config.md is stale: run `make docs`"
    )


def test_config_comments_are_what_the_schema_says(root):
    text = (root / "config.yaml").read_text()
    assert text == comment_config(text), "config.yaml's comments are stale: run `make docs`"


def test_config_comments_that_are_not_above_a_key_stay(root):
    text = (
        "# A study.\n\n# Of old.\nseed: 1  # as ever\ntraining:\n  # Of old.\n  # Older.\n"
        "  init_std:\n    # Why.\n    - {from_parameters: 0, value: 0.02}\n"
    )
    commented = comment_config(text)
    for kept in ("# A study.\n\n", "seed: 1  # as ever\n", "    # Why.\n    - {from"):
        assert kept in commented
    assert "Of old" not in commented
    assert "Older" not in commented
    assert "\n  # Standard deviation of initial weights" in commented


def test_config_docs_have_every_key(root):
    page = (root / "docs/config.md").read_text()

    def keys(block):
        for key, value in block.items():
            yield key
            if isinstance(value, dict) and key not in ("mixture", "shapes", "corpora"):
                yield from keys(value)

    for key in keys(yaml.safe_load((root / "config.yaml").read_text())):
        assert key in page


def test_config_imports_no_heavy_library():
    code = (
        "import sys, plm_scaling.config.load, plm_scaling.sweep.cells;"
        "heavy = {'torch', 'megatron', 'pandas', 'numpy', 'pyarrow'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
