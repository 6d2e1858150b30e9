"""The planner's page, in a real browser: it answers as the planner does, and follows the hand."""

import json
import math
import shutil
from dataclasses import replace

import pytest
from browser import check_figures, open_page
from planted_laws import BUDGETS
from synthetic import Surface, isoflop_grid

from plm_scaling.common.errors import LawError
from plm_scaling.laws import fit_frontier, fit_parametric
from plm_scaling.laws.result import write_law
from plm_scaling.planner.answer import plan
from plm_scaling.planner.page import write_page
from plm_scaling.planner.question import PUBLISHED_LAWS, Question

CLM = Question(objective="clm", flops=1e20)
CASES = [
    CLM,
    replace(CLM, objective="mlm", flops=7e20),
    replace(CLM, unique_tokens=5e9),
    replace(CLM, params=2e8),
    replace(CLM, params=2e9, unique_tokens=2e9),
    replace(CLM, flops=1e21, serve="1T"),
]


def answered(driver, page, question):
    """What the page shows for a question, by its own script."""
    write_page(page, question, plan(question))
    open_page(driver, page, 1280)
    shown = json.loads(driver.execute_script("return document.body.dataset.answer"))
    assert shown["gpu_hours"] == pytest.approx(plan(question).time.gpu_hours, rel=1e-6)
    return shown


def agree(shown, question):
    answer = plan(question)
    for name, key in (("n_params", "n_params"), ("tokens", "tokens")):
        assert shown[name] == pytest.approx(getattr(answer, key).value, rel=1e-6)
    guesses = [said for said in shown["said"] if said.startswith("A guess: ")]
    assert len(guesses) == len([g for g in answer.guesses if "repeated tokens" not in g])
    loss = answer.loss_nats_per_token
    assert shown["loss"] == pytest.approx(loss.value, abs=1e-6)
    assert shown["loss_interval"] == pytest.approx(loss.interval, abs=1e-5)
    if answer.n_params.interval is not None and not question.serve:  # chosen, on the page
        assert shown["n_interval"] == pytest.approx(answer.n_params.interval, rel=1e-5)


def test_page_answers_as_the_planner_does(chromium, tmp_path):
    for k, question in enumerate(CASES):
        agree(answered(chromium, tmp_path / f"{k}.html", question), question)


def test_page_takes_the_resamples_of_a_parametric_law(chromium, tmp_path):
    n, d, _, loss = isoflop_grid(Surface(), [1e18, 1e19, 1e20, 1e21], 6, noise=0.003, seed=1)
    law = fit_parametric(n, d, loss, bootstrap=200)
    law.objective = "clm"
    write_law(tmp_path / "own.json", law)
    question = replace(CLM, laws=tmp_path / "own.json")
    agree(answered(chromium, tmp_path / "page.html", question), question)


def test_page_says_of_laws_of_ones_own_what_the_planner_says(chromium, tmp_path, laws, penalty):
    cases = [
        replace(CLM, laws=penalty, unique_tokens=4e9),
        replace(CLM, laws=penalty, unique_tokens=4e9, params=4e8),
        replace(CLM, laws=laws, flops=3 * BUDGETS[-1]),
        replace(CLM, laws=laws, params=1e11),
    ]
    for k, question in enumerate(cases):
        shown = answered(chromium, tmp_path / f"{k}.html", question)
        agree(shown, question)
        extrapolated = any(said.startswith("Extrapolated") for said in shown["said"])
        assert extrapolated == (k == 2)


@pytest.mark.parametrize("width", [1280, 400])
def test_page_follows_the_hand_and_fits_the_screen(chromium, tmp_path, width):
    page = tmp_path / "plan.html"
    write_page(page, CLM, plan(CLM))
    open_page(chromium, page, width)
    check_figures(chromium, width, ("sizes", "plane"))

    def move(name, value):
        chromium.execute_script(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "if (e.type === 'radio') e.checked = true;"
            "e.dispatchEvent(new Event('input', {bubbles: true}));",
            name,
            value,
        )
        return json.loads(chromium.execute_script("return document.body.dataset.answer"))

    agree(move("#flops", 20.5), replace(CLM, flops=10**20.5))
    agree(move("#unique", 10.4), replace(CLM, flops=10**20.5, unique_tokens=10**10.4))
    fixed = move("#size", 8.5)
    agree(fixed, replace(CLM, flops=10**20.5, unique_tokens=10**10.4, params=10**8.5))
    assert any("above the optimum" in said for said in fixed["said"])
    none = move("#unique", 7)
    assert any(said.startswith("No answer") for said in none["said"])
    cards = chromium.find_element("id", "answer").text
    assert "–" in cards
    assert "nan" not in cards.lower()
    move("#unique", 14)
    chromium.execute_script("document.querySelectorAll('[name=objective]')[1].click()")
    mlm = json.loads(chromium.execute_script("return document.body.dataset.answer"))
    agree(mlm, replace(CLM, objective="mlm", flops=10**20.5, params=10**8.5))
    overflow = "return document.documentElement.scrollWidth - innerWidth"
    assert chromium.execute_script(overflow) <= 0


def test_page_needs_a_law_of_runs_off_the_optimum(tmp_path):
    n, d, c, loss = isoflop_grid(Surface(), [1e18, 1e19, 1e20, 1e21], 6, noise=0.0, seed=1)
    law = fit_frontier([str(i) for i in range(len(n))], n, d, c, loss, bootstrap=0)
    law.objective = "clm"
    write_law(tmp_path / "clm.frontier.json", law)
    question = replace(CLM, laws=tmp_path)
    with pytest.raises(LawError, match="only optima"):
        write_page(tmp_path / "plan.html", question, plan(question))
    assert not (tmp_path / "plan.html").exists()


def test_page_of_one_law_holds_that_one(tmp_path):
    shutil.copy(PUBLISHED_LAWS / "clm.isoflop.json", tmp_path)
    question = replace(CLM, laws=tmp_path)
    write_page(tmp_path / "plan.html", question, plan(question))
    text = (tmp_path / "plan.html").read_text()
    assert "PLAN_DATA" not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    data = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    assert [law["objective"] for law in data["laws"]] == ["clm"]
    assert math.isclose(data["start"]["flops"], 1e20)
