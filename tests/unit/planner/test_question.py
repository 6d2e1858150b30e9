"""What is asked is read as people write it, and contradictions are refused."""

import math

import pytest

from plm_scaling.common.errors import LawError
from plm_scaling.planner import Question
from plm_scaling.planner.question import given
from plm_scaling.study.hardware import GPUS


def test_amounts_are_read_as_people_write_them():
    asked = given(Question(params="6B", tokens="300B", unique_tokens="15.4e9", serve="1T"))
    assert (asked.n_params, asked.tokens, asked.unique_tokens) == (6e9, 3e11, 1.54e10)
    assert (asked.served, asked.flops, given(Question(flops=1)).unique_tokens) == (
        1e12,
        None,
        math.inf,
    )


@pytest.mark.parametrize(
    ("text", "count", "gpu"),
    [("8xA100", 8, "A100"), ("H200", 1, "H200"), ("16xa100-40gb", 16, "A100-40GB")],
)
def test_gpus_are_a_number_and_a_name(text, count, gpu):
    asked = given(Question(gpus=text, days=14))
    assert (asked.gpus, asked.gpu, asked.days) == (count, gpu, 14)


@pytest.mark.parametrize("text", ["8xH1000", "0xA100", "8", "", "-1xA100"])
def test_unknown_gpus_are_refused_with_those_that_are_known(text):
    with pytest.raises(LawError, match=r"^gpus is .*; give a number and a name") as error:
        given(Question(gpus=text, days=1))
    assert all(name in str(error.value) for name in GPUS)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "much", "6X", ""])
@pytest.mark.parametrize(
    "name", ["flops", "days", "params", "tokens", "loss", "serve", "unique_tokens"]
)
def test_amounts_that_are_no_positive_numbers_are_refused(name, value):
    with pytest.raises(LawError, match=f"^{name.replace('_', ' ')} is {value}; give a positive"):
        given(Question(**{name: value}))


def test_utilisation_is_a_share():
    with pytest.raises(LawError, match="utilisation is 40; give a share"):
        given(Question(flops=1e20, utilisation=40))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "nothing to plan from"),
        ({"serve": 1e9}, "nothing to plan from"),
        ({"flops": 1e20, "days": 3}, "flops and days cannot"),
        ({"flops": 1e20, "loss": 2.0}, r"compute \(flops, or gpus with days\) and loss cannot"),
        ({"flops": 1e20, "params": 1e9, "tokens": 1e9}, "leave out all but two"),
    ],
)
def test_what_contradicts_itself_is_refused(asked, words):
    with pytest.raises(LawError, match=words):
        given(Question(**asked))
