"""What the page says that limits a study: only what is so in this study."""

import math

import pandas as pd
import pytest

from plm_scaling.laws.result import read_law
from plm_scaling.planner.question import PUBLISHED_LAWS
from plm_scaling.report.parts.limits import NONE, excluded_runs, law_limits, limits

REFERENCE = {"authors": "Cheng, Chen", "venue": "2024", "smallest_budget_flops": 1e18}


@pytest.fixture
def converged():
    law = read_law(PUBLISHED_LAWS / "mlm.mask_ratio.json")
    law.excluded = []
    return law


def table(flops=1e20, steps=10_000.0, warmup=500.0, loss=2.2):
    run = {"run_id": "a", "objective": "mlm", "status": "finished", "flops": flops, "loss": loss}
    return pd.DataFrame([run | {"steps": steps, "warmup_steps": warmup}])


def test_a_study_without_limits_says_so(converged):
    assert limits([converged], table(), REFERENCE) == [NONE]


def test_small_compute_is_compared_with_the_reference_and_large_is_not(converged):
    (said,) = limits([converged], table(3e12), REFERENCE)
    assert "6 orders of magnitude below the smallest budget of Cheng et al., 2024" in said
    (said,) = limits([converged], table(5e16), REFERENCE)
    assert "1 order of magnitude below" in said
    assert limits([converged], table(3e12)) == [NONE]
    assert limits([converged], table(1e18), REFERENCE) == [NONE]


def test_laws_that_are_not_converged_say_why(converged):
    law = read_law(PUBLISHED_LAWS / "clm.isoflop.json")
    law.excluded = []
    said = limits([converged, law], table())
    assert said == [f"CLM IsoFLOP is not identified: {law.reason}."]


def test_laws_of_one_reason_are_one_sentence_with_the_numbers_of_each():
    laws = [read_law(PUBLISHED_LAWS / f"{objective}.isoflop.json") for objective in ("clm", "mlm")]
    (said,) = law_limits(laws)
    ends = [law.equations["N"].interval["a"] for law in laws]
    clm, mlm = (f"({low:.2f} to {high:.2f})" for low, high in ends)
    assert said.startswith(f"CLM IsoFLOP {clm} and MLM IsoFLOP {mlm} are not identified: the int")


@pytest.mark.parametrize(
    "reason",
    [
        "no (N, D) has a best rate inside those tried",
        "3 (N, D) have a best rate inside those tried, and 4 are needed",
    ],
)
def test_what_is_in_brackets_stays_where_it_has_no_number(reason):
    laws = [read_law(PUBLISHED_LAWS / f"{objective}.isoflop.json") for objective in ("clm", "mlm")]
    for law in laws:
        law.reason = reason
    assert law_limits(laws) == [f"CLM IsoFLOP and MLM IsoFLOP are not identified: {reason}."]


def test_models_that_know_little_more_than_how_common_residues_are_are_named(converged):
    (said,) = limits([converged], table(loss=2.88))
    assert said.startswith("The lowest loss is 2.880 nats/token, and a model that knows only how")
    assert limits([converged], table(loss=2.7)) == [NONE]


def test_short_runs_and_runs_in_no_law_are_counted(converged):
    converged.excluded = [{"run_id": "a", "why": "more than 4 epochs: 5.1"}]
    runs = table(steps=100.0)
    short, out = limits([converged], runs)
    assert short.startswith("Of 1 runs 0 have fewer than 200 warm-up steps and 1 fewer than 2,000")
    assert out == "1 of 1 runs are in no law of their objective: 1 more than 4 epochs."
    assert excluded_runs([converged], runs) == {"a": "more than 4 epochs: 5.1"}
    assert limits([converged], table(steps=math.nan, warmup=math.nan))[0].startswith("1 of 1")
