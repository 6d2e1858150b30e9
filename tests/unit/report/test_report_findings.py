import pytest
from synthetic import DEMO_BUDGETS, Surface, isoflop_grid

from plm_scaling.common.progress import short_number
from plm_scaling.laws.isoflop.fit import fit_isoflop
from plm_scaling.laws.parametric.fit import fit_parametric
from plm_scaling.laws.text import law_sentence
from plm_scaling.report.parts.findings import comparison, find


def isoflop(objective="clm", surface=None, noise=0.002, n_sizes=7, seed=1, budgets=DEMO_BUDGETS):
    grid = isoflop_grid(surface or Surface(), budgets, n_sizes, noise=noise, seed=seed)
    law = fit_isoflop(*grid, bootstrap=300)
    law.objective = objective
    return law


def test_findings_with_tight_intervals_give_and_explain_the_exponent():
    (finding,) = find([isoflop()])
    assert finding.sound
    low, high = isoflop().equations["N"].interval["a"]
    assert f"{low:.2f} to {high:.2f}" in finding.sentence
    assert "3 of 3 IsoFLOP budgets" in finding.sentence
    assert "ten times the compute" in finding.sentence
    assert finding.train.startswith("With 3e+12 FLOPs, the largest budget of the law, train ")
    assert finding.sure.startswith("IsoFLOP law converged, 15 runs, 3e+11 to 3e+12 FLOPs; a held")


def test_findings_with_wide_intervals_say_that_the_exponent_is_not_identified_and_by_what():
    law = isoflop(noise=0.006, n_sizes=6, seed=2)
    low, high = law.equations["N"].interval["a"]
    assert high - low > 0.3
    (finding,) = find([law])
    assert not finding.sound
    assert finding.sentence.startswith("The exponent is not identified: ")
    assert "of 3 IsoFLOP budgets with a minimum" in finding.sentence
    assert f"{low:.2f} to {high:.2f}" in finding.sentence


def test_terminal_says_of_an_exponent_that_it_is_not_identified_and_by_what():
    law = isoflop(noise=0.006, n_sizes=6, seed=2)
    low, high = law.equations["N"].interval["a"]
    assert f"; the interval of a ({low:.2f} to {high:.2f}) spans more than" in law_sentence(law)
    assert law_sentence(isoflop()).endswith(")")


@pytest.mark.parametrize(
    ("evidence", "start", "reason"),
    [
        ({"failed": 0.4}, "The exponent is not identified (", "40 % of the resamples gave no"),
        ({"contradictions": ["it rains"]}, "N_opt grows as", "Contradicted by a check: it rains."),
    ],
)
def test_findings_of_a_law_that_is_not_converged_say_why(evidence, start, reason):
    law = isoflop()
    law.warnings.append("a warning that is no reason")
    law.evidence |= evidence
    law.judge()
    (finding,) = find([law])
    assert not finding.sound
    assert finding.sentence.startswith(start)
    assert reason in finding.sentence


def test_findings_count_no_budgets_of_too_few_sizes():
    law = isoflop()
    law.details["minima"].append(law.details["minima"][0] | {"status": "too_few_sizes"})
    (finding,) = find([law])
    assert "3 of 3 IsoFLOP budgets" in finding.sentence


def test_findings_from_few_minima_are_unsound_however_tight_the_interval():
    (finding,) = find([isoflop(noise=0.0005, budgets=(1e12, 1e13))])
    assert not finding.sound
    assert "2 of 2 IsoFLOP budgets" in finding.sentence


def test_findings_without_a_minimum_give_no_exponent():
    (finding,) = find([isoflop(n_sizes=3)])
    assert not finding.sound
    assert "do not say what to train" in finding.sentence
    assert "0 of 3" in finding.sentence


def test_findings_state_whether_the_two_laws_agree():
    n, d, _, loss = isoflop_grid(Surface(), DEMO_BUDGETS, 7, noise=0.002, seed=1)
    parametric = fit_parametric(n, d, loss, bootstrap=200)
    parametric.objective = "clm"
    (finding,) = find([isoflop(), parametric])
    assert any("overlaps with that of the IsoFLOP" in note for note in finding.notes)
    high = isoflop().equations["N"].interval["a"][1]
    parametric.equations["N"].interval["a"] = (high + 0.001, high + 0.1)
    (finding,) = find([isoflop(), parametric])
    assert any("touches that of the IsoFLOP" in note for note in finding.notes)
    parametric.equations["N"].interval["a"] = (0.9, 0.95)
    (finding,) = find([isoflop(), parametric])
    assert any("does not overlap" in note for note in finding.notes)


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        (Surface(), "do not tell the objectives apart"),
        (Surface(beta=0.6, B=3000.0), "MLM puts more"),
    ],
)
def test_comparison_of_objectives_follows_the_intervals(surface, expected):
    assert expected in comparison([isoflop(), isoflop("mlm", surface)])


def test_comparison_of_intervals_that_touch_is_inconclusive():
    clm, mlm = isoflop(), isoflop("mlm")
    low, high = clm.equations["N"].interval["a"]
    mlm.equations["N"].interval["a"] = (high + 0.05 * (high - low), high + 1.05 * (high - low))
    assert "touch: these runs do not tell" in comparison([clm, mlm])


def test_what_to_train_without_a_law_is_not_said_and_of_an_unsound_one_a_guess():
    (nothing,) = find([isoflop(n_sizes=3)])
    assert not nothing.train
    assert not nothing.sure
    law = isoflop(noise=0.006, n_sizes=6, seed=2)
    (guess,) = find([law])
    assert guess.train.startswith("A guess: with 3e+12 FLOPs")
    assert law.reason not in guess.sure  # the page says it under what limits the laws
    n = law.equations["N"].parameters
    assert f"train {short_number(n['k'] * 3e12 ** n['a'])} (" in guess.train
