"""Stages take the rates and batches of a tuned law, or those of the config, and say which."""

import json

import numpy as np
import pytest
from corpora import write_corpus
from placed_studies import STAGES, Study, batch_of
from planted_rates import BATCH, planted

from plm_scaling.config.training import Mup, PowerLaw
from plm_scaling.design.placing.rates import usable_batch
from plm_scaling.laws.tuning.fit import fit_tuning
from plm_scaling.study.sweep_table import read_sweep, read_tuning
from plm_scaling.sweep.cells import tuning_only
from plm_scaling.sweep.later import later_stages
from plm_scaling.sweep.settings import value_at
from plm_scaling.sweep.single import extra_cells, transferred_cells
from plm_scaling.sweep.supply import Supply

TUNING = {
    "sizes": ["10M", "20M", "40M"],
    "budgets_flops": [1e18, 1e19],
    "learning_rate_factors": [0.25, 0.5, 1, 2, 4],
    "batch_factors": [1],
}
BEST = PowerLaw(factor=0.4, parameters=-0.6, tokens=0.2)  # near the rates of the config


def test_cells_that_only_tune_stay_so(root, tmp_path):
    study = Study(root, tmp_path, tuning=TUNING)
    study.train()
    record = study.place(2)
    only = tuning_only(study.config, study.stages)
    assert len(only) == 3 * 2 * 5 - 4  # the grid has those with the rates of the config, in range
    assert read_tuning(study.folder / "sweep.tsv") == only
    assert only < set(record["runs"])  # for the learning rates; the law of the sizes has none
    (study.folder / "stages/2.json").unlink()
    plain = Study(root, tmp_path).place(2)
    assert [b["sizes"] for b in record["budgets"]] == [b["sizes"] for b in plain["budgets"]]
    assert set(record["runs"]) == only | set(plain["runs"])


def test_cells_of_later_stages_have_the_rates_of_the_tuned_law(root, tmp_path):
    study = Study(root, tmp_path, best=BEST, tuning=TUNING)
    before = study.cells
    (*_, waiting) = later_stages(study.config, {}, study.config.machine)
    assert "stages 2, 3 wait for the 30 of sweep.tuning; they take the" in waiting
    study.train()
    record = study.place(2)
    (said,) = record["rates"]
    assert said.startswith("clm, study: peak learning rates")
    assert "by the law of sweep.tuning (converged)" in said
    now = [*later_stages(study.config, study.stages, study.config.machine)]
    assert f"stage 2: {said}" in now
    assert "the cells of stage 3 wait" in now[-1]
    cells = study.cells
    assert before.items() < cells.items()  # what is trained already stays as it is
    placed = [cell for cell in cells.values() if cell.flops_budget == 1e20]
    assert len(placed) == 6
    for cell in placed:
        rate = value_at(BEST, cell.n_params, cell.flops_budget / 6 / cell.n_params)
        assert cell.peak_learning_rate == pytest.approx(rate, rel=0.1)
        assert cell.final_learning_rate == pytest.approx(0.1 * cell.peak_learning_rate)
    assert read_sweep(study.folder / "sweep.tsv") == cells
    (study.folder / "stages/2.json").unlink()  # killed before it was written
    assert study.place(2) | {"placed": ""} == record | {"placed": ""}


BEST_BATCH = PowerLaw(factor=393, parameters=0, tokens=0.3)  # 3e5 to 8e5 tokens where it is tuned


def test_cells_of_later_stages_have_the_batches_of_the_tuned_law(root, tmp_path):
    best = PowerLaw(**vars(BEST) | {"factor": 5e-4, "batch": 0.45})
    tried = {"batch_factors": [0.5, 1, 2], "learning_rate_factors": [0.3, 0.7, 1.5, 3]}
    study = Study(root, tmp_path, best=best, best_batch=BEST_BATCH, tuning=TUNING | tried)
    study.train()
    record = study.place(2)
    assert "tokens, by the law of sweep.tuning (converged)" in record["rates"][0]
    placed = [cell for cell in study.cells.values() if cell.flops_budget == 1e20]
    assert len(placed) == 6
    for cell in placed:
        meant = cell.flops_budget / 6 / cell.n_params
        assert batch_of(cell) == pytest.approx(value_at(BEST_BATCH, cell.n_params, meant), rel=0.15)
        rate = value_at(best, cell.n_params, meant, batch_of(cell))
        assert cell.peak_learning_rate == pytest.approx(rate, rel=0.1)
    assert len({batch_of(cell) for cell in placed}) > 2
    assert read_sweep(study.folder / "sweep.tsv") == study.cells
    (study.folder / "stages/2.json").unlink()
    other = study.place(2, write_corpus(tmp_path / "tokens"))  # of other sources
    assert "would be larger than corpus unimeta, which has 0" in other["rates"][0]
    assert {budget["batch"] for budget in other["budgets"]} == {None}
    assert [b["rate"] for b in other["budgets"]] == [b["rate"] for b in record["budgets"]]


def test_a_law_of_batches_that_cells_cannot_have_is_not_taken(root, tmp_path):
    def batch_of_law(beta, **sweep):
        where = {
            "sizes": (1e7, 1.5e7),
            "budgets": (1e18, 1.5e18),
            "batches": BATCH * 4.0 ** np.arange(-1, 2),
        }
        law = fit_tuning(**planted(best_batch=lambda n, d: BATCH * (d / 1.65e10) ** beta, **where))
        return usable_batch(Study(root, tmp_path, **sweep).config, {}, "clm", law)

    found, said = batch_of_law(2.5)
    assert (found.tokens, said) == (pytest.approx(2.5), "")
    for beta, axes in ((3, {}), (2.5, {"batch_factor": [1, 4]})):  # few steps
        found, said = batch_of_law(beta, axes=axes)
        assert found is None
        assert "batches of training.batch_tokens, since by the law clm " in said
        assert "not within 1 %" in said


def test_a_law_of_batches_larger_than_a_corpus_is_not_taken(root, tmp_path):
    law = fit_tuning(
        **planted(best_batch=lambda n, d: BATCH, batches=BATCH * 2.0 ** np.arange(-1, 2))
    )
    blocks = Study(root, tmp_path).config
    second = blocks.corpora["unimeta"].model_copy(update={"mixture": {"small": 1.0}})
    swept = blocks.sweep.model_copy(update={"corpora": ["unimeta", "second"]})
    corpora = blocks.corpora | {"second": second}
    blocks = blocks.model_copy(update={"corpora": corpora, "sweep": swept})
    many = int(BATCH / blocks.tokens.context_length)

    def usable(rows):
        train = {source: {"": 1e9} for source in corpora["unimeta"].mixture} | {"small": {"": rows}}
        supply = Supply(train=train, tokens={}, held_out=1e9, exact=True)
        return usable_batch(blocks, {}, "clm", law, supply)

    found, said = usable(many)
    assert (found.factor, said) == (pytest.approx(BATCH), "")
    found, said = usable(many - 1)  # of the second corpus, too
    assert found is None
    why = "since by the law a batch of 524288 tokens (size "
    assert said.startswith(f"; batches of training.batch_tokens, {why}")
    assert said.endswith(" would be larger than corpus second, which has 523264")


def test_a_law_of_batches_is_not_asked_of_cells_of_the_other_objective(root, tmp_path):
    law = fit_tuning(
        **planted(best_batch=lambda n, d: BATCH, batches=BATCH * 2.0 ** np.arange(-1, 2))
    )

    def usable(objective):
        both = {"objectives": ["clm", "mlm"], "tuning": TUNING}
        extra = EXTRA | {"objective": objective, "flops": 5e20}
        blocks = Study(root, tmp_path, **both, extra=[extra]).config
        second = blocks.corpora["unimeta"].model_copy(update={"mixture": {"small": 1.0}})
        (extra,) = (one.model_copy(update={"corpus": "second"}) for one in blocks.sweep.extra)
        sweep = blocks.sweep.model_copy(update={"extra": [extra]})
        corpora = blocks.corpora | {"second": second}
        blocks = blocks.model_copy(update={"corpora": corpora, "sweep": sweep})
        train = {source: {"": 1e9} for source in blocks.corpora["unimeta"].mixture}
        supply = Supply(train=train | {"small": {"": 1}}, tokens={}, held_out=1e9, exact=True)
        return usable_batch(blocks, {}, "clm", law, supply)

    assert usable("mlm")[0].factor == pytest.approx(BATCH)
    found, said = usable("clm")
    assert found is None
    assert "would be larger than corpus second" in said


EXTRA = {"objective": "clm", "corpus": "unimeta", "recipe": "study", "size": "154M"}


def test_single_and_transferred_cells_have_the_rates_of_their_stage(root, tmp_path):
    cells = {
        "extra": [EXTRA | {"flops": flops} for flops in (5e19, 5e20, 3e22)],
        "transfer": [EXTRA | {"flops": 1e20, "source_flops": 1e19}],
    }
    study = Study(root, tmp_path, best=BEST, tuning=TUNING, **cells)
    configured = Study(root, tmp_path / "plain", **cells).cells
    at = [cell.flops_budget for cell in study.cells.values() if cell.size == "154M"]
    assert {flops for flops in at if flops not in (1e18, 1e19)} == {5e19}  # the others wait
    lines = [*later_stages(study.config, study.stages, study.config.machine)]
    said = [line for line in lines if line.startswith("with stage")]
    assert [line[:20] for line in said] == ["with stage 2 come 3 ", "with stage 3 come 1 "]
    study.train()
    record = study.place(2)
    assert record["single"] is True
    single = {cell.flops_budget: cell for cell in study.cells.values() if cell.size == "154M"}
    for flops in (5e20, 1e20):
        rate = value_at(BEST, single[flops].n_params, flops / 6 / single[flops].n_params)
        assert single[flops].peak_learning_rate == pytest.approx(rate, rel=0.1)
    (target,) = (cell for cell in study.cells.values() if cell.init_from)
    assert study.cells[target.init_from].objective == "mlm"
    assert target.peak_learning_rate == pytest.approx(
        value_at(BEST, target.n_params, 1e20 / 6 / target.n_params), rel=0.1
    )
    assert single[5e19].cell in configured  # of the first stage
    assert 3e22 not in single


def test_single_cells_keep_the_rates_of_a_stage_that_is_skipped_after_it_was_placed(root, tmp_path):
    cells = {
        "extra": [EXTRA | {"flops": 5e20}],
        "transfer": [EXTRA | {"flops": 1e20, "source_flops": 1e19}],
    }
    study = Study(root, tmp_path, best=BEST, tuning=TUNING, **cells)
    study.train()
    study.place(2)
    had = {
        cell.cell
        for singles in (extra_cells, transferred_cells)
        for cell in singles(study.config, study.stages)
    }
    placed = {name for name, cell in study.cells.items() if cell.flops_budget == 1e20} - had
    assert len(had) == 3
    assert len(placed) == 6
    stages = [STAGES[0] | {"skip": True}, STAGES[1]]
    later = Study(root, tmp_path, best=BEST, tuning=TUNING, stages=stages, **cells)
    assert had < later.cells.keys() < study.cells.keys()
    assert not placed & later.cells.keys()
    assert later.place(3)["single"] is True


def test_batches_are_said_to_be_taken_where_enough_are_tried(root, tmp_path):
    for factors, taken in (([1, 2], False), ([0.5, 1, 2], True)):
        tuning, extra = TUNING | {"batch_factors": factors}, [EXTRA | {"flops": 5e20}]
        config = Study(root, tmp_path, tuning=tuning, extra=extra).config
        _, single, _, waiting = later_stages(config, {}, config.machine)
        assert single.startswith("with stage 2 come 1 cells")
        assert single.endswith("they take its learning rates and batches") == taken
        assert ("the batches of its law" in waiting) == taken


def test_a_single_cell_that_was_trained_as_configured_stays_so(root, tmp_path):
    cells = {"extra": [EXTRA | {"flops": 3e22}]}
    plain = Study(root, tmp_path, best=BEST, **cells)
    plain.train()
    (trained,) = (name for name, cell in plain.cells.items() if cell.flops_budget == 3e22)
    study = Study(root, tmp_path, best=BEST, tuning=TUNING, **cells)
    assert trained not in study.cells
    study.train()
    assert study.place(2)["single"] is False
    assert trained in study.cells
    assert study.cells.keys() & {*plain.cells} == {*plain.cells}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sizes": ["20M"]}, "the law of sweep.tuning is not identified: "),
        ({"learning_rate_factors": [0.01, 0.02, 0.03, 0.04]}, "no (N, D) has a best rate inside"),
    ],
)
def test_without_a_law_of_the_rates_stages_have_those_of_the_config(root, tmp_path, changes, why):
    study = Study(root, tmp_path, best=BEST, tuning=TUNING | changes)
    study.train()
    record = study.place(2)
    (said,) = record["rates"]
    assert said.startswith("clm, study: peak learning rates of training.peak_learning_rate, as ")
    assert why in said
    assert {budget["rate"] for budget in record["budgets"]} == {None}
    plain = Study(root, tmp_path)  # the same records, and no tuning
    assert set(plain.cells) == set(study.cells) - tuning_only(study.config, study.stages)


def test_recipes_that_were_not_tuned_have_the_rates_of_the_config(root, tmp_path):
    study = Study(root, tmp_path, best=BEST, tuning=TUNING, recipes=["study", "prenorm"])
    study.train()
    record = study.place(2)
    assert "clm, prenorm" in record["rates"][1]
    assert "sweep.tuning is of recipe study" in record["rates"][1]
    with_law = {budget["recipe"] for budget in record["budgets"] if budget["rate"]}
    assert with_law == {"study"}
    (*_, waiting) = later_stages(study.config, study.stages, study.config.machine)
    assert "sweep.tuning; those of recipe study take the peak rates of its law" in waiting


def test_seeds_that_are_added_have_the_rates_of_the_others(root, tmp_path):
    study = Study(root, tmp_path, stages=[STAGES[0] | {"reach": 0.3}, STAGES[1]])
    study.train()
    study.place(2)
    study.noise = 3e-2
    path = study.folder / "stages/2.json"
    record = json.loads(path.read_text())
    for budget in record["budgets"]:
        if budget["flops"] == 1e20:
            budget["rate"] = BEST.model_dump()
    path.write_text(json.dumps(record))
    study.train()
    more = [b for b in study.place(3)["budgets"] if b["why"].startswith("more seeds")]
    assert any(budget["flops"] == 1e20 for budget in more)
    assert all(b["rate"] == (BEST.model_dump() if b["flops"] == 1e20 else None) for b in more)


def test_a_law_is_kept_though_the_stage_before_added_seeds_to_the_first(root, tmp_path):
    study = Study(root, tmp_path, best=BEST, tuning=TUNING)
    study.train()
    record = study.place(2)
    law = record["budgets"][0]["rate"] | {"factor": 0.123}  # that of its runs differs
    record["budgets"][0]["rate"] = law
    first = {"flops": 1e18, "sizes": ["10M"], "seeds": [1, 2], "rate": None}
    record["budgets"].append(record["budgets"][0] | first)
    (study.folder / "stages/2.json").write_text(json.dumps(record))
    study.train()
    third = study.place(3)
    assert third["rates"][0].endswith("as the stage before")
    assert [b["rate"] for b in third["budgets"] if b["flops"] == 1e21] == [law]


def test_after_a_stage_that_was_placed_without_tuning_the_rates_stay(root, tmp_path):
    plain = Study(root, tmp_path, best=BEST)
    plain.train()
    plain.place(2)
    study = Study(root, tmp_path, best=BEST, tuning=TUNING)
    (*_, waiting) = later_stages(study.config, study.stages, study.config.machine)
    assert waiting.endswith("as the stages before were placed without it")
    study.train()
    third = study.place(3)
    assert "in the stages before, which were placed without sweep.tuning" in third["rates"][0]
    assert {budget["rate"] for budget in third["budgets"]} == {None}


def test_cells_are_not_said_to_take_a_law_with_mup_nor_in_a_stage_that_is_skipped(root, tmp_path):
    stage = {"sizes": 5, "reach": 1.2}
    starts = [{"from_flops": 1e19}, {"from_flops": 1e20, "skip": True}, {"from_flops": 1e21}]
    study = Study(root, tmp_path, tuning=TUNING, stages=[stage | start for start in starts])
    mup = study.config.training.model_copy(update={"mup": Mup(base_width=256, base_channels=64)})
    config = study.config.model_copy(update={"training": mup})
    (*_, waiting) = later_stages(config, {}, config.machine)
    assert "the cells of stages 2, 4 wait" in waiting
    assert waiting.endswith(
        "stay those of training.peak_learning_rate, as training.mup takes one for all sizes"
    )


def test_tuning_may_come_before_all_budgets(root, tmp_path):
    stages = [STAGES[0] | {"from_flops": 1e18}, STAGES[1] | {"from_flops": 1e20}]
    study = Study(root, tmp_path, best=BEST, tuning=TUNING, stages=stages)
    assert set(study.cells) == tuning_only(study.config)
    study.train()
    budgets = study.place(2)["budgets"]
    assert [budget["flops"] for budget in budgets] == [1e18, 1e19]
    assert all(budget["rate"] and budget["law"] is None for budget in budgets)
    study.train()
    (last, *_) = study.place(3)["budgets"]
    assert last["law"]["status"]
    assert last["rate"] == budgets[0]["rate"]
