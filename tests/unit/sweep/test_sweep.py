"""Parameter counts, FLOPs and cells."""

import dataclasses
import json

import pytest
import yaml
from cell_fixtures import cell_of
from configs import read_config
from hypothesis import given
from hypothesis import strategies as st

from plm_scaling.common.errors import ConfigError, SweepError
from plm_scaling.config.load import validate_config
from plm_scaling.study.cell import Cell
from plm_scaling.study.flops import exact_training_flops, training_flops
from plm_scaling.study.shapes import STUDY_GRID, Shape
from plm_scaling.study.sweep_table import read_sweep, write_sweep
from plm_scaling.sweep.cells import plan_cells

# N = GFLOPs·1e9 / (6·tokens) of the paired exports in the study's released logs (Cheng et al. 2024,
# repository at commit 12acfa0); 1.2B and its total as printed by the study's training code.
EXACT_N = {
    "34M": 33_625_088,
    "85M": 85_068_288,
    "200M": 202_562_290,
    "230M": 231_499_504,
    "470M": 472_271_344,
    "880M": 886_820_748,
    "1.2B": 1_208_618_992,
    "1.7B": 1_784_557_056,
}


@pytest.mark.parametrize("size", EXACT_N)
def test_study_grid_has_the_exact_parameter_counts_of_the_logs(size):
    assert STUDY_GRID[size].n_params("study") == EXACT_N[size]


def test_study_grid_total_counts_the_tied_embedding_once():
    assert STUDY_GRID["1.2B"].n_params_total("study") == 1_208_881_136


def test_study_grid_rises_and_its_names_are_near_its_counts():
    counts = [shape.n_params("study") for shape in STUDY_GRID.values()]
    assert counts == sorted(counts)
    for name, shape in STUDY_GRID.items():
        nominal = float(name[:-1]) * {"M": 1e6, "B": 1e9}[name[-1]]
        assert shape.n_params("study") == pytest.approx(nominal, rel=0.06)


@pytest.fixture(scope="module")
def full(root):
    return read_config(root / "config.yaml")


@pytest.mark.parametrize("name", ["config.yaml", "config/demo.yaml"])
def test_cells_reach_their_budget_within_one_percent(root, name):
    for cell in plan_cells(read_config(root / name)).values():
        achieved = training_flops(cell.n_params, cell.tokens)
        assert achieved == cell.flops
        assert abs(achieved / cell.flops_budget - 1) <= 0.01
        assert cell.tokens == cell.steps * cell.batch_rows * cell.context_length


def test_full_study_covers_every_budget_and_objective_and_the_validation_runs(full):
    cells = plan_cells(full).values()
    for budget in (1e18, 3e18, 1e19, 3e19, 1e20, 3e20, 1e21):
        for objective in ("clm", "mlm"):
            assert sum(c.flops_budget == budget and c.objective == objective for c in cells) >= 10
    transfers = {c.init_from for c in cells}
    single = [c for c in cells if c.flops_budget > 1e21 and c.cell not in transfers]
    assert {(c.objective, c.size) for c in single} == {
        ("clm", "7.2B"),
        ("mlm", "10.7B"),
    }


def test_full_study_uses_the_batch_and_learning_rates_of_the_study(full):
    by_size = {c.size: c for c in plan_cells(full).values()}
    assert by_size["470M"].batch_rows == 512
    assert by_size["1.2B"].batch_rows == 1024
    assert by_size["470M"].peak_learning_rate == 4e-4
    assert by_size["85M"].peak_learning_rate == 5.5e-4
    assert by_size["1.2B"].peak_learning_rate == 3e-4
    assert by_size["7.2B"].peak_learning_rate == 1.2e-4


def test_cell_id_does_not_depend_on_other_cells(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    values["sweep"]["stages"] = []
    before = plan_cells(validate_config(values, "demo"))
    values["sweep"]["sizes"].append("3.5M")
    values["sweep"]["budgets_flops"].append(1e16)
    after = plan_cells(validate_config(values, "demo"))
    assert set(before) < set(after)


@pytest.mark.parametrize(
    ("block", "key", "value"),
    [("training", "weight_decay", 0.05), ("sweep", "seeds", [2]), ("training", "beta2", 0.9)],
)
def test_cell_id_changes_with_everything_that_decides_its_result(root, block, key, value):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    before = plan_cells(validate_config(values, "demo"))
    values[block][key] = value
    assert not set(before) & set(plan_cells(validate_config(values, "demo")))


def test_every_corpus_gets_the_whole_grid_and_differs_only_in_data(root):
    cells = plan_cells(read_config(root / "config/data-constrained.yaml")).values()
    by_corpus = {}
    for cell in cells:
        rest = dataclasses.asdict(cell)
        for what in ("corpus", "mixture", "strata", "unique_tokens_limit"):
            del rest[what]
        by_corpus.setdefault(cell.corpus, []).append(rest)
    assert len(by_corpus) == 6
    assert all(rest == by_corpus["repeat"] for rest in by_corpus.values())


def test_corpus_settings_become_strata_and_limits(root):
    cells = plan_cells(read_config(root / "config/data-constrained.yaml")).values()
    found = {cell.corpus: (cell.strata, cell.unique_tokens_limit) for cell in cells}
    assert found["ample"] == (["kept"], None)
    assert found["unfiltered"] == (["kept", "filtered"], {"uniref_demo": 6.2e5})
    assert found["duplicates"] == (["kept", "redundant"], {"uniref_demo": 6.7e5})
    for cell in cells:
        if cell.corpus == "code":  # half of the tokens are code, so the other half repeats
            assert cell.epochs == pytest.approx(0.5 * cell.tokens / 5e5)
    total = dataclasses.replace(next(iter(cells)), unique_tokens_limit=1e6)
    assert total.epochs == pytest.approx(total.tokens / 1e6)


def test_mask_ratio_is_missing_for_clm(full):
    for cell in plan_cells(full).values():
        assert (cell.mask_ratio is None) == (cell.objective == "clm")


def test_a_designed_budget_trains_only_its_sizes_and_seeds_and_the_same_cells(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    grid = plan_cells(validate_config(values, "demo"))
    seeds = {"sizes": ["890", "1.9k"], "seeds": [1, 2]}
    values["sweep"]["designed"] = [{"objective": "clm", "flops": 2e9, **seeds}]
    values["sweep"]["tokens_per_parameter"] = [50, 500]
    in_range = plan_cells(
        validate_config(values | {"sweep": values["sweep"] | {"designed": []}}, "demo")
    )
    cells = plan_cells(validate_config(values, "demo"))
    at = {(c.size, c.seed) for c in cells.values() if (c.objective, c.flops_budget) == ("clm", 2e9)}
    assert at == {(size, seed) for size in seeds["sizes"] for seed in seeds["seeds"]}
    others = {name for name, c in cells.items() if (c.objective, c.flops_budget) != ("clm", 2e9)}
    assert others == {
        name for name, c in in_range.items() if (c.objective, c.flops_budget) != ("clm", 2e9)
    }
    assert {name for name, c in cells.items() if c.seed == 1} <= set(grid)


def test_a_designed_size_may_be_outside_the_grid_and_must_be_known(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    one = {"objective": "mlm", "flops": 4e9, "sizes": ["890"], "seeds": [1]}
    values["sweep"] |= {"sizes": ["530", "1.3k"], "designed": [one], "stages": []}
    cells = plan_cells(validate_config(values, "demo")).values()
    assert [c.size for c in cells if (c.objective, c.flops_budget) == ("mlm", 4e9)] == ["890"]
    values["sweep"]["designed"] = [one | {"sizes": ["891"]}]
    with pytest.raises(SweepError, match=r"891.*890"):
        plan_cells(validate_config(values, "demo"))


def test_sweep_with_unknown_size_names_the_known_ones(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    values["sweep"]["sizes"] = ["4k"]
    with pytest.raises(SweepError, match=r"'4k'.*3.3k.*10\.7B"):
        plan_cells(validate_config(values, "demo"))


def test_sweep_with_too_large_a_batch_says_which_cell(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    values["training"]["batch_tokens"] = [{"from_parameters": 0, "value": 400_000}]
    with pytest.raises(SweepError, match="within 1 %"):
        plan_cells(validate_config(values, "demo"))


def test_sweep_without_cells_is_an_error(root):
    values = yaml.safe_load((root / "config/demo.yaml").read_text())
    values["sweep"]["tokens_per_parameter"] = [1e-9, 1e-8]
    with pytest.raises(SweepError, match="no cell"):
        plan_cells(validate_config(values, "demo"))


@pytest.mark.parametrize("name", ["config.yaml", "config/data-constrained.yaml"])
def test_sweep_table_read_back_is_the_same(root, tmp_path, name):
    cells = plan_cells(read_config(root / name))
    write_sweep(cells, tmp_path / "sweep.tsv")
    assert read_sweep(tmp_path / "sweep.tsv") == cells


def test_cell_as_json_read_back_is_the_same(full):
    cell = next(iter(plan_cells(full).values()))
    assert Cell.from_json(cell.to_json()) == cell


def test_later_fields_change_a_cell_only_where_they_are_not_what_held_before():
    before = cell_of("mlm", Shape(2, 24, 40, 3), masking="span")
    assert before.cell == "3d35d9d894"  # by the version that did not have them
    later = {"initialisation", "document_mask", "positions", "common_evaluation", "start_token"}
    later |= {"mup_base_width", "mup_base_channels"}
    assert later.isdisjoint(json.loads(before.to_json()))
    assert Cell.from_json(before.to_json()) == before
    for change in (
        {"masking": "study"},
        {"initialisation": "study"},
        {"document_mask": False},
        {"positions": "protein"},
        {"common_evaluation": True},
        {"start_token": True},
        {"mup_base_width": 24},
        {"mup_base_channels": 8},
    ):
        other = dataclasses.replace(before, **change)
        assert other.cell != before.cell
        assert Cell.from_json(other.to_json()) == other


def test_what_concerns_one_recipe_or_objective_changes_no_cell_of_another(full):
    values = full.model_dump(mode="json")
    values["training"]["common_evaluation"] = True
    values["training"]["initialisation"] = "study"
    values["sweep"]["recipes"] = ["study", "prenorm"]
    cells = plan_cells(validate_config(values, "full")).values()
    found = {(cell.recipe, cell.initialisation) for cell in cells}
    assert found == {("study", "study"), ("prenorm", "normal")}
    found = {(cell.objective, cell.common_evaluation) for cell in cells}
    assert found == {("mlm", True), ("clm", False)}


def test_mup_is_a_fact_of_cells_and_refused_where_it_means_nothing(full, tmp_path):
    values = full.model_dump(mode="json")
    values["training"]["mup"] = {"base_width": 256, "base_channels": 64}
    with pytest.raises(ConfigError, match=r"learning_rate\.clm changes with the size, but with"):
        validate_config(values, "full")
    law = {"factor": 1.79, "parameters": -0.713, "tokens": 0.307}
    values["training"]["peak_learning_rate"] = {"clm": law, "mlm": law}
    with pytest.raises(ConfigError, match=r"learning_rate\.clm changes with the size, but with"):
        validate_config(values, "full")
    one = [{"from_parameters": 0, "value": 0.001}]
    values["training"]["peak_learning_rate"] = {"clm": one, "mlm": one}
    with pytest.raises(ConfigError, match=r"training\.mup is for recipe prenorm, and the sweep"):
        validate_config(values, "full")
    values["sweep"]["recipes"] = ["prenorm"]
    for single in [*values["sweep"]["extra"], *values["sweep"]["transfer"]]:
        single["recipe"] = "prenorm"
    cells = plan_cells(validate_config(values, "full"))
    assert {(c.mup_base_width, c.mup_base_channels) for c in cells.values()} == {(256, 64)}
    assert {c.recipe_in_tables for c in cells.values()} == {"prenorm+mup"}
    write_sweep(cells, tmp_path / "sweep.tsv")
    assert read_sweep(tmp_path / "sweep.tsv") == cells


def test_cell_as_json_with_another_field_is_refused(full):
    cell = next(iter(plan_cells(full).values()))
    text = cell.to_json().replace('"seed"', '"sead"')
    with pytest.raises(SweepError, match=r"fields differ: sead, seed$"):
        Cell.from_json(text)


shapes = st.builds(
    lambda layers, heads, channels, ffn: Shape(layers, heads * channels * 2, ffn, heads),
    st.integers(1, 6), st.integers(1, 4), st.integers(1, 8), st.integers(1, 64),
)  # fmt: skip


@given(shapes, st.integers(1, 10**6), st.sampled_from(["clm", "mlm"]))
def test_exact_flops_exceed_the_convention_only_by_attention_output_and_vectors(
    shape, tokens, objective
):
    exact = exact_training_flops(shape, tokens, 64, objective)
    matrices = shape.layers * (4 * shape.hidden**2 + 3 * shape.hidden * shape.ffn)
    attended = 64 if objective == "mlm" else 32.5
    extra = 2 * shape.layers * shape.hidden * attended + 128 * shape.hidden
    assert exact == pytest.approx(6 * tokens * (matrices + extra))
    assert matrices < shape.n_params(
        "study"
    )  # the convention counts biases and norms as if multiplied
