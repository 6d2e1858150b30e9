"""What is a guess, what is refused, and what is advised instead."""

import json
import re
import shutil

import pytest
from planted_laws import BUDGETS, noisy_runs, optimum, write
from synthetic import DEMO_BUDGETS, Surface, isoflop_grid

from plm_scaling.common.errors import LawError
from plm_scaling.common.progress import full_number
from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.result import read_law
from plm_scaling.planner import Question, plan
from plm_scaling.planner.laws import find_laws
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.planner.text import answer_text
from plm_scaling.planner.trust import RESIDUES, held_out
from plm_scaling.tokens.format.vocabulary import STANDARD


def ask(laws, objective="clm", **given):
    return plan(Question(objective=objective, laws=laws, **given))


def with_held_out(laws, folder, difference):
    """The isoflop law in a folder, its held-out prediction off by so much (None: not made)."""
    law = json.loads((laws / "clm.isoflop.json").read_text())
    law["held_out"]["loss"]["difference"] = difference
    if difference is None:
        law["held_out"] = {"status": "not_available", "why": "two budgets"}
    (folder / "law.json").write_text(json.dumps(law))
    return folder / "law.json"


@pytest.mark.parametrize(
    ("difference", "factor", "guess"),
    [(0.0, 3.0, False), (0.0, 5.0, True), (0.5, 1.5, True), (None, 1.5, True), (0.5, 1.0, False)],
)
def test_no_law_is_extrapolated_further_than_its_held_out_prediction_without_saying_so_first(
    laws, tmp_path, difference, factor, guess
):
    # the budgets lie 3.16 times apart, and so does the prediction of the largest one
    answer = ask(with_held_out(laws, tmp_path, difference), flops=factor * BUDGETS[-1])
    first = answer_text(answer).splitlines()[0]
    assert first.startswith("a guess: ") == guess
    assert bool(answer.warnings) == (factor > 1)
    if guess:
        assert re.search(r"FLOPs lie \S+ times above the largest budget that was fitted", first)
        assert ("no held-out prediction" in first) == (difference is None)
        assert ("the held-out prediction failed" in first) == (difference == 0.5)
        assert ("reached only 3.16 times" in first) == (difference == 0.0)
        assert ("0.500 nats too high, outside the interval" in answer.how_sure) == bool(difference)


def test_held_out_prediction_of_every_law_is_found():
    for law in ("isoflop", "parametric", "frontier"):
        assert held_out(find_laws(PUBLISHED_LAWS / f"clm.{law}.json", "clm")).factor > 1


@pytest.mark.parametrize("flops", [6e20, 1e7])
def test_plan_far_from_the_runs_is_refused(tmp_path, flops):
    grid = isoflop_grid(Surface(), DEMO_BUDGETS, 7, noise=0.001)
    write(tmp_path, "isoflop", fit_isoflop(*grid, bootstrap=100))
    with pytest.raises(LawError, match=r"times (above|below) the .* a power law says nothing"):
        ask(tmp_path, flops=flops)


def test_plan_with_a_loss_above_that_of_a_uniform_guess_is_refused():
    assert len(STANDARD) == RESIDUES
    with pytest.raises(LawError, match="uniform guess"):
        ask(None, flops=1e20, params=6)  # 6B was meant


def test_plan_of_a_size_further_off_the_optimum_than_any_run_is_a_guess(laws, tmp_path):
    law = read_law(laws / "clm.isoflop.json")
    names = ("n_params", "tokens", "flops", "loss")
    law.runs = [dict(zip(names, run, strict=True)) for run in zip(*noisy_runs(), strict=True)]
    write(tmp_path, "isoflop", law)
    n, _ = optimum(1e20)
    assert ask(tmp_path, flops=1e20, params=2 * n).guesses == []
    (guess,) = ask(tmp_path, flops=1e20, params=n / 8).guesses
    assert re.search(r"0\.1\d+ times the optimum .* reach from 0.4\d* to 2.[456] times", guess)


def test_plan_where_compute_is_not_6nd_says_what_the_tokens_of_the_runs_are(laws, tmp_path):
    law = json.loads((laws / "clm.isoflop.json").read_text())
    law["equations"]["D"]["k"] *= 0.7
    (tmp_path / "law.json").write_text(json.dumps(law))
    (warning,) = ask(tmp_path, flops=1e20).warnings
    assert "0.7 times the C/(6·N)" in warning


def test_plan_from_a_law_that_is_not_identified_starts_with_being_a_guess(laws, tmp_path):
    law = read_law(laws / "clm.isoflop.json")
    law.equations["N"].interval["a"] = (0.2, 0.8)
    write(tmp_path, "isoflop", law)
    first = answer_text(ask(tmp_path, flops=1e20)).splitlines()[0]
    assert "guess" in first
    assert "not identified (N grows as C^0.20 to C^0.80)" in first
    assert "do not determine the exponent" in ask(tmp_path, flops=1e20).how_sure


@pytest.mark.parametrize("objective", ["clm", "mlm"])
@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_first_line_of_the_shipped_laws_is_short_and_says_a_thing_once(objective, factor):
    high = find_laws(PUBLISHED_LAWS, objective).fitted[1]
    answer = ask(None, objective, flops=factor * high)
    first = answer_text(answer).splitlines()[0]
    assert len(first) <= 200
    assert first.count("held-out prediction") <= 1
    assert not re.search(r"[a-z]_[a-z]", answer_text(answer))
    lower = "held-out loss was 0.022 nats lower than predicted"
    assert any(lower in said for said in answer.warnings) == (objective == "clm" and factor > 1)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_plan_from_a_law_without_intervals_is_a_guess_and_says_so_once(tmp_path, factor):
    write(tmp_path, "isoflop", fit_isoflop(*noisy_runs(), bootstrap=0))
    answer = ask(tmp_path, flops=factor * BUDGETS[-1])
    assert answer.guesses[0] == "the isoflop law has no interval, so nothing says how sure it is"
    assert (answer.n_params.interval, answer.loss_nats_per_token.interval) == (None, None)
    said = answer_text(answer)
    assert "with no interval to judge it by" in answer.how_sure
    assert "outside the interval" not in said
    assert "prediction failed" not in said


def test_plan_by_a_law_of_repeats_that_is_contradicted_starts_with_that(laws, tmp_path):
    shutil.copy(laws / "clm.isoflop.json", tmp_path)
    law = json.loads((laws / "clm.repeated.json").read_text())
    off = {"what": "the held-out error", "value": 0.2, "allowed": 0.01, "unit": "nats"}
    law["evidence"] |= {"held_out": off}
    (tmp_path / "clm.repeated.json").write_text(json.dumps(law))
    answer = ask(tmp_path, flops=BUDGETS[-1], unique_tokens=1e10)
    assert answer.epochs > 1
    (said,) = answer.guesses
    assert re.fullmatch(r"the law of repeats, which counts the \S+ epochs, is contradicted", said)
    assert "the held-out error is 0.2 nats, where 0.01 nats would agree" in answer.warnings[0]
    fresh = ask(tmp_path, flops=BUDGETS[-1], unique_tokens=1e13)
    assert fresh.guesses == []


def test_plan_from_a_law_without_minima_is_refused(laws, tmp_path):
    law = json.loads((laws / "clm.isoflop.json").read_text()) | {"frontier": []}
    (tmp_path / "clm.isoflop.json").write_text(json.dumps(law))
    with pytest.raises(LawError, match="gives no N and D"):
        ask(tmp_path, flops=1e20)


@pytest.mark.parametrize("unique", [1e6, 5e8, 1e9])
def test_more_epochs_than_the_law_was_fitted_on_are_refused_with_what_is_enough(unique):
    with pytest.raises(LawError, match=r"epochs .* over 13, .* unique tokens are enough") as error:
        ask(None, flops=1e21, unique_tokens=unique)
    said = str(error.value)
    enough = full_number(re.search(r"(\S+) unique tokens are enough", said)[1])
    assert ask(None, flops=1e21, unique_tokens=1.01 * enough).epochs <= 13
    if unique == 1e6:  # too few for any plan
        assert "stop earlier" not in said
        assert "ten times" not in said
        return
    stop, loss = re.search(r"stop earlier \((\S+) FLOPs, \S+ par.*, loss (\S+)\)", said).groups()
    answer = ask(None, flops=float(stop) * 0.99, unique_tokens=unique)
    assert answer.epochs == pytest.approx(13, rel=0.03)
    assert answer.loss_nats_per_token.value == pytest.approx(float(loss), abs=0.003)
    assert "ten times the data gives" in said
    assert "fine-tuning a public model" in said


def test_repeats_of_which_nothing_is_known_are_a_guess_and_refused_beyond_those_tried():
    answer = ask(None, "mlm", flops=1e21, unique_tokens="15.4B")
    assert any("repeated tokens" in guess for guess in answer.guesses)
    assert answer.data.ten_times_the_data is None  # the loss given is that of fresh tokens
    # what they would reach is that of fresh tokens, so no more than a bound
    both = r"over 13.* loss at least 2\.\d+\); ten times the data gives at least 2\.\d+"
    with pytest.raises(LawError, match=both):
        ask(None, "mlm", flops=1e20, unique_tokens=5e9)


def test_plan_without_a_repeated_law_says_that_the_loss_is_of_fresh_tokens(laws, tmp_path):
    shutil.copy(laws / "clm.isoflop.json", tmp_path)
    unique = ask(tmp_path, flops=1e20).tokens.value / 3
    answer = ask(tmp_path, flops=1e20, unique_tokens=unique)
    assert any("no law of repeated" in warning for warning in answer.warnings)
    with pytest.raises(LawError, match="over 4, "):  # up to which repeats are as good as new
        ask(tmp_path, flops=1e20, unique_tokens=0.7 * unique)


def test_plan_with_an_open_law_of_repeats_gives_the_values_for_fresh_tokens(laws, tmp_path):
    for name in ("isoflop", "repeated"):
        shutil.copy(laws / f"clm.{name}.json", tmp_path)
    path = tmp_path / "clm.repeated.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "not_identified"}))
    fresh = ask(tmp_path, flops=1e20)
    answer = ask(tmp_path, flops=1e20, unique_tokens=fresh.tokens.value / 8)
    assert answer.loss_nats_per_token == fresh.loss_nats_per_token
    assert answer.guesses


def test_repeated_law_that_does_not_say_how_many_epochs_is_refused(laws, tmp_path):
    shutil.copy(laws / "clm.isoflop.json", tmp_path)
    law = json.loads((laws / "clm.repeated.json").read_text())
    del law["epochs_range"]
    (tmp_path / "clm.repeated.json").write_text(json.dumps(law))
    with pytest.raises(LawError, match="up to how many epochs it was fitted"):
        ask(tmp_path, flops=1e20, unique_tokens=1e9)
