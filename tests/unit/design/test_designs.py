"""Designs cost what their cells cost, and the front holds what is worth its price."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from plm_scaling.cli.main import main
from plm_scaling.common.errors import LawError, SweepError
from plm_scaling.config.load import FULL_STUDY, read_config, validate_config
from plm_scaling.design.choose import cheapest, front, narrowest
from plm_scaling.design.family import Ladder, between, with_partners
from plm_scaling.design.propose import extrapolated, prior_for, propose
from plm_scaling.design.request import Asked, Request, limits_of
from plm_scaling.design.show import buys
from plm_scaling.design.simulate import expect, points_of
from plm_scaling.design.text import proposal_text, width_text
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.sweep.cells import plan_cells

ASKED = Asked("exponent")


@pytest.fixture(scope="module")
def ladder(full):
    return Ladder(full, full.machine)


def hours(cost):
    return cost.hours


def of_grid(config, objective=None):
    """The cells of the grid alone, of an objective or all."""
    bare = {"extra": [], "transfer": []} | ({"objectives": [objective]} if objective else {})
    sweep = config.sweep.model_copy(update=bare)
    return list(plan_cells(config.model_copy(update={"sweep": sweep})).values())


def test_a_design_is_what_its_entries_train_and_cost(full, ladder, priors):
    budgets = tuple(full.sweep.budgets_flops)
    design = ladder.design(priors["clm"], "clm", budgets, (6, 4), 1.85, 2)
    sweep = full.sweep.model_copy(
        update={"objectives": ["clm"], "extra": [], "transfer": [], "designed": design.entries}
    )
    cells = plan_cells(full.model_copy(update={"sweep": sweep})).values()
    assert sorted(points_of(cells)) == sorted(design.points)
    assert design.cost.flops == pytest.approx(sum(cell.flops for cell in cells))
    assert design.cost.hours == pytest.approx(sum(ladder.cost_of(c).hours for c in cells))
    counts = [len(entry.sizes) for entry in design.entries]
    assert (counts[0], counts[-1]) == (6, 4)
    assert counts == sorted(counts, reverse=True)
    assert [len(entry.seeds) for entry in design.entries] == [2, 2, 2, 2, 1, 1, 1]


def test_sizes_stand_around_the_minimum_that_the_law_expects(full, ladder, priors):
    budgets = tuple(full.sweep.budgets_flops)
    for objective, prior in priors.items():
        design = ladder.design(prior, objective, budgets, (5, 5), 1.85, 1)
        for entry in design.entries:
            sizes = [ladder.sizes(objective, entry.flops)[size] for size in entry.sizes]
            assert sizes[0] < prior.surface.size(entry.flops) < sizes[-1]


def test_partners_of_transferred_cells_are_trained_even_at_budgets_left_out(full, ladder, priors):
    budgets = tuple(full.sweep.budgets_flops[:5])
    for objective in ("clm", "mlm"):
        design = ladder.design(priors[objective], objective, budgets, (5, 5), 1.5, 1)
        trained = {(e.flops, size) for e in design.entries for size in e.sizes}
        pairs = [p for p in full.sweep.transfer if p.objective == objective]
        assert {(p.flops, p.size) for p in pairs if p.flops in full.sweep.budgets_flops} <= trained


def test_needed_sizes_take_the_place_of_the_nearest():
    known = {"1M": 1, "2M": 2, "4M": 4, "8M": 8, "16M": 16}
    assert with_partners(["1M", "4M", "16M"], ["8M", "16M"], known) == ["1M", "8M", "16M"]
    assert with_partners(["1M"], ["8M", "16M"], known) == ["8M", "16M"]
    assert between([1e18, 3e18, 1e19]) == [1.7e18, 5.5e18]


def test_front_is_ordered_and_choices_keep_their_limits(monkeypatch, full, ladder, priors):
    monkeypatch.setattr("plm_scaling.design.choose.DRAWS", range(6))
    monkeypatch.setattr("plm_scaling.design.choose.MORE", range(6, 12))
    budgets = tuple(full.sweep.budgets_flops)
    some = [
        ladder.design(priors["clm"], "clm", budgets[:n], counts, 1.85, 1)
        for n in (4, 5, 6, 7)
        for counts in ((5, 5), (8, 8))
    ]
    rows = front(some, ASKED, priors["clm"], hours)
    costs = [row.design.cost.hours for row in rows]
    widths = [row.expected.half_width for row in rows]
    assert costs == sorted(costs)
    assert widths == sorted(widths, reverse=True)
    assert len(rows) > 1
    assert {len(row.expected.value) for row in rows} == {12}  # judged on all
    assert cheapest(rows, widths[1]) is rows[1]
    assert narrowest(rows, costs[1] + 1, hours, "hours") is rows[1]
    with pytest.raises(SweepError, match=r"the narrowest reaches"):
        cheapest(rows, 1e-4)
    with pytest.raises(SweepError, match=r"no design costs 1 hours or less"):
        narrowest(rows, 1.0, hours, "hours")
    with pytest.raises(SweepError, match=r"the share of clm; .* design clm alone \(--objective\)"):
        narrowest(rows, 1.0, hours, "hours", "clm")
    many, far = ((lambda cost, by=by: by * cost.hours / costs[0]) for by in (11520, 2e19))
    with pytest.raises(SweepError, match=r"no design costs 2,000 hours or .* costs 11,520: "):
        narrowest(rows, 2000, many, "hours")
    with pytest.raises(SweepError, match=r"no design costs 1e\+19 FLOPs or .* costs 2e\+19: "):
        narrowest(rows, 1e19, far, "FLOPs")


def test_too_few_budgets_for_a_law_are_said(full, ladder, priors):
    one = ladder.design(priors["clm"], "clm", tuple(full.sweep.budgets_flops[:1]), (5, 5), 1.85, 1)
    with pytest.raises(SweepError, match="expected to find a law: it takes minima"):
        front([one], ASKED, priors["clm"], hours)


def test_without_a_law_a_cheap_first_stage_is_proposed_and_said_to_be_one(full, tmp_path):
    config, machine, proposals = propose(Request(laws="none"))
    for one in proposals:
        trained = [entry for entry in one.entries if entry.sizes]
        assert [entry.flops for entry in trained] == sorted(full.sweep.budgets_flops)[:3]
        assert all(len(entry.sizes) == 8 for entry in trained)
        assert "first, cheap stage" in proposal_text(one, machine)
        grid = sum(cell.flops for cell in of_grid(config, one.objective))
        assert one.cost.flops < 0.01 * grid


def test_command_writes_a_config_that_trains_the_design(monkeypatch, capsys, tmp_path):
    out = tmp_path / "small.yaml"
    words = ["plm-scaling", "design", "--laws", "none", "--objective", "mlm", "--json"]
    monkeypatch.setattr("sys.argv", [*words, "--out", str(out)])
    main()
    (said,) = json.loads(capsys.readouterr().out)
    config = read_config(out)
    assert config.study == "small"
    mlm = [cell for cell in of_grid(config) if cell.objective == "mlm"]
    assert said["flops"] == pytest.approx(sum(cell.flops for cell in mlm))


def test_finished_runs_are_a_prior(priors):
    runs = PUBLISHED_LAWS.parent / "tables/runs.csv"
    prior = prior_for(Request(runs=runs), "clm")
    assert prior.name == "the isoflop law of runs.json"
    assert prior.surface.a == pytest.approx(priors["clm"].surface.a)


def test_runs_that_give_no_law_are_named(tmp_path):
    few = (PUBLISHED_LAWS.parent / "tables/runs.csv").read_text().splitlines()[:3]
    runs = tmp_path / "few.csv"
    runs.write_text("\n".join(few))
    with pytest.raises(LawError, match=f"^{runs}: the law is not identified and gives no N"):
        prior_for(Request(runs=runs), "clm")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": "size"}, "question is 'size'"),
        ({"question": "size-at"}, "question is 'size-at'"),
        ({"question": "exponent=3"}, "question is"),
        ({"question": "size-at=nan"}, "question is 'size-at=nan'"),
        ({"precision": 0.1, "budget": "1e21"}, "give one of"),
        ({"days": 3}, "give --gpus"),
        ({"budget": "-1"}, "budget is -1"),
        ({"laws": "a", "runs": "b"}, "give one"),
        ({"laws": Path("none"), "days": 3, "gpus": "8xH100"}, "leave out --precision"),
    ],
)
def test_what_contradicts_itself_is_refused(changes, message):
    with pytest.raises((SweepError, LawError), match=message):
        limits_of(Request(**changes))


def test_an_objective_that_the_config_lacks_is_refused(tmp_path):
    values = yaml.safe_load(FULL_STUDY.read_text())
    values["sweep"] |= {"objectives": ["clm"], "extra": [], "transfer": []}
    values["laws"]["fits"] = ["isoflop"]
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    with pytest.raises(SweepError, match="--objective mlm: not in"):
        propose(Request(objective="mlm", config=config))


def test_axes_multiply_the_bill_of_a_design_and_not_what_it_teaches(full, ladder, priors):
    axes = {"learning_rate_factor": [1, 2, 4]}
    with_axes = full.model_copy(update={"sweep": full.sweep.model_copy(update={"axes": axes})})
    budgets = tuple(full.sweep.budgets_flops[:4])
    designs = [
        one.design(priors["clm"], "clm", budgets, (5, 5), 1.85, 1)
        for one in (ladder, Ladder(with_axes, with_axes.machine))
    ]
    assert designs[1].cost.flops == pytest.approx(3 * designs[0].cost.flops)
    cells = of_grid(with_axes, "clm")
    assert len(cells) == 3 * len(of_grid(full, "clm"))
    assert points_of(cells) == points_of(of_grid(full, "clm"))


def test_questions_are_read_as_people_write_them():
    assert limits_of(Request(question="size-at 1e22")).asked == Asked("size-at", 1e22)
    limits = limits_of(Request(question="loss-at=1e22", gpus="16xA100", days="2"))
    assert (limits.asked.kind, limits.gpus, limits.days) == ("loss-at", (16, "A100"), 2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked("loss-at", 1e22), ["1e+22 FLOPs lie 33.3 times above the largest budget of this"]),
        (Asked("size-at", 1e17), ["1e+17 FLOPs lie 10 times below the smallest budget of this"]),
        (Asked("loss-at", 3e20), []),
        (Asked("exponent"), []),
    ],
)
def test_design_that_answers_for_a_compute_beyond_its_budgets_says_so(asked, said):
    notes = [*extrapolated(asked, (1e18, 1e19, 3e20))]
    assert len(notes) == len(said)
    assert all(note.startswith(start) for note, start in zip(notes, said, strict=True))


def test_half_widths_have_their_unit():
    assert width_text(Asked("loss-at", 1e22), 0.01234) == "±0.0123 nats"
    assert width_text(Asked("size-at", 1e22), np.log(1.5)) == "within a factor of 1.50"
    assert width_text(Asked("exponent"), 0.0123) == "±0.012"


def test_plan_says_what_a_sweep_is_expected_to_buy_or_why_not(full, root, priors):
    cells = of_grid(full, "clm")[::4]
    (said,) = buys(cells)
    assert said.startswith("clm: expected to give the exponent a of N_opt = k·C^a to ±0.")
    (none,) = buys([cell for cell in cells if cell.flops_budget == 1e19])
    assert "no law is expected" in none
    demo = [*buys([*plan_cells(read_config(root / "config/demo.yaml")).values()])]
    assert ["not known" in line for line in demo] == [True, True]
    assert not [line for line in demo if "--" in line]  # `plan` has no such options


def test_designed_study_costs_at_most_30_percent(root, full):
    designed = read_config(root / "config/full-designed.yaml")
    bills = []
    for config in (designed, full):
        validate_config(yaml.safe_load(config.model_dump_json()), "whole")
        ladder = Ladder(config, config.machine)
        sweep = config.sweep.model_copy(update={"extra": []})
        cells = plan_cells(config.model_copy(update={"sweep": sweep})).values()
        bills.append(sum(ladder.cost_of(cell).hours for cell in cells))
    assert bills[0] <= 0.3 * bills[1]


@pytest.mark.long
@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_designed_study_is_expected_to_know_the_exponent_no_worse(root, full, priors, objective):
    """On truths that the design was not chosen on."""
    unseen = range(1000, 1100)
    designed = read_config(root / "config/full-designed.yaml")
    ours, grid = (
        expect(ASKED, points_of(of_grid(config, objective)), priors[objective], unseen)
        for config in (designed, full)
    )
    assert ours.half_width <= grid.half_width
    assert ours.coverage >= 0.9
    assert np.isfinite(ours.value).all()
