"""A design is written into a config, and the ready one follows the full study's."""

import pytest
import yaml

from plm_scaling.common.errors import ConfigError
from plm_scaling.config.load import FULL_STUDY, read_config, validate_config
from plm_scaling.config.sweep import Designed
from plm_scaling.design.block import MADE, designed_config, designed_sweep, write_designed
from plm_scaling.sweep.cells import plan_cells


def entry(objective, flops, *sizes):
    return Designed(objective=objective, flops=flops, sizes=list(sizes), seeds=[1])


def test_only_designed_cells_of_a_designed_objective_are_trained_and_all_of_another(root, full):
    keys = designed_sweep(
        full.sweep, {"clm": [entry("clm", 5.5e18, "20M"), entry("clm", 1e19, "34M")]}
    )
    text = designed_config((root / "config.yaml").read_text(), keys, "mine", "why")
    assert text.startswith("# why\n# The full study")
    config = validate_config(yaml.safe_load(text), "mine")
    assert config.study == "mine"
    bare = {"extra": [], "transfer": []}
    cells, grid = (
        plan_cells(c.model_copy(update={"sweep": c.sweep.model_copy(update=bare)}))
        for c in (config, full)
    )
    assert [(c.flops_budget, c.size) for c in cells.values() if c.objective == "clm"] == [
        (5.5e18, "20M"),
        (1e19, "34M"),
    ]
    mlm = {name for name, c in cells.items() if c.objective == "mlm"}
    assert mlm == {name for name, c in grid.items() if c.objective == "mlm"}


def test_the_design_of_another_objective_stays(full):
    kept = [entry("mlm", 1e18, "6M"), entry("mlm", 3e18)]
    sweep = full.sweep.model_copy(update={"designed": kept})
    designed = designed_sweep(sweep, {"clm": [entry("clm", 1e19, "34M")]})["designed"]
    of_mlm = [one for one in designed if one["objective"] == "mlm"]
    assert of_mlm == [one.model_dump() for one in kept]


def test_budgets_that_no_design_has_go(full):
    entries = {"clm": [entry("clm", 1e18, "6M")], "mlm": [entry("mlm", 3e18, "6M")]}
    keys = designed_sweep(full.sweep, entries)
    assert keys["budgets_flops"] == [1e18, 3e18]
    sizes = {(one["objective"], one["flops"]): one["sizes"] for one in keys["designed"]}
    assert sizes == {
        ("clm", 1e18): ["6M"],
        ("mlm", 1e18): [],
        ("clm", 3e18): [],
        ("mlm", 3e18): ["6M"],
    }


def test_the_rest_of_the_config_stays_as_it_is(root, full):
    text = (root / "config.yaml").read_text()
    keys = {name: getattr(full.sweep, name) for name in ("budgets_flops", "designed")}
    same = yaml.safe_load(designed_config(text, {**keys, "designed": [{"flops": 1e18}]}, "full"))
    before = yaml.safe_load(text)
    assert same["sweep"].pop("designed") == [{"flops": "1e18"}]
    before["sweep"].pop("designed")
    assert same == before


@pytest.mark.parametrize(
    "sweep",
    [
        "",
        "sweep:\n",
        "sweep: {sizes: [6M, 10M], stages: [{from_flops: 1e19}]}  # short\n",
        "sweep:\n    # those that fit\n    sizes: [6M, 10M]\n    stages:\n    - from_flops: 1e19\n",
        "sweep:\n  budgets_flops:\n    - 1e17\n  # the end\n",
        "sweep:\n  budgets_flops:\n    - 1e17\n\n  # those that fit\n  sizes: [6M, 10M]\n",
        "sweep:\n  stages:\n  - from_flops: 1e19\n    sizes: 4\n  sizes: [6M, 10M]\n",
        "sweep:\n  budgets_flops:\n  - 1e17\n  sizes:\n  - 6M\n  - 10M\n\n",
    ],
)
def test_a_short_config_gets_the_keys_that_it_lacks(sweep):
    keys = {"budgets_flops": [1e18, 1e19], "designed": [entry("clm", 1e18, "6M").model_dump()]}
    text = f"study: a\n{sweep}seed: 3  # mine\n# the end\n"
    made = designed_config(text, keys, "b")
    assert "# the end" in made
    values = yaml.safe_load(made)
    design = validate_config(values | {"corpora": {"mine": {"path": "my.faa"}}}, "b").sweep
    assert (values["study"], values["seed"], design.stages) == ("b", 3, [])
    assert (design.budgets_flops, len(design.designed)) == ([1e18, 1e19], 1)
    if "budgets_flops" not in sweep:
        assert made.index("budgets_flops:") < made.index("designed:")
    assert ("sizes" in sweep) == (design.sizes == ["6M", "10M"])


def test_a_config_that_was_designed_is_designed_anew(root, tmp_path):
    """Its list of cells stands in lines of its own, and `stages` follow."""
    source, out = root / "config/full-designed.yaml", tmp_path / "again.yaml"
    keys = {"budgets_flops": [1e18], "designed": [entry("clm", 1e18, "6M").model_dump()]}
    write_designed(source, out, keys, "")
    before, after = read_config(source), read_config(out)
    assert "  stages: []\n" in out.read_text()
    assert after.sweep.sizes == before.sweep.sizes
    assert [one.sizes for one in after.sweep.designed] == [["6M"]]


def test_a_design_that_would_change_another_key_is_refused(tmp_path):
    """The tuned cells have the budget that is replaced."""
    source, out = tmp_path / "source.yaml", tmp_path / "out.yaml"
    tuning = "tuning: {sizes: [6M], budgets_flops: [*b]}"
    source.write_text(f"study: a\nsweep:\n  budgets_flops: [&b 1e17]\n  {tuning}\n")
    with pytest.raises(ConfigError, match=r"source.yaml: budgets_flops, designed of sweep cannot"):
        write_designed(source, out, {"budgets_flops": [1e18], "designed": []}, "")
    assert not out.exists()


def test_ready_config_is_the_full_study_but_for_its_design(root):
    """`make docs` writes it anew after other keys changed."""
    path = root / "config/full-designed.yaml"
    design = read_config(path).sweep
    keys = {
        "budgets_flops": design.budgets_flops,
        "designed": [one.model_dump() for one in design.designed],
    }
    made = [line for line in path.read_text().splitlines() if line.startswith(MADE)]
    header = "\n".join(line.removeprefix("# ") for line in made)
    assert path.read_text() == designed_config(FULL_STUDY.read_text(), keys, path.stem, header)
