from dataclasses import replace

import pandas as pd
import pytest

from plm_scaling.cheng2024.constants import (
    COLUMNS,
    INPUT_COLUMNS,
    compare_constants,
    in_short,
    last_digit,
    look_up,
)
from plm_scaling.cheng2024.findings import published_findings, reproduction, row_sentence
from plm_scaling.cheng2024.rows import marks
from plm_scaling.common.errors import PlmScalingError
from plm_scaling.laws.result import Equation, LawResult


def isoflop(a=0.6, interval=(0.55, 0.65), **details):
    parameters = {"k": 1e-3, "a": a}
    equation = Equation("k*C^a", parameters, {"k": None, "a": interval}, 0.95)
    rows = [
        {"flops": c, "extrapolated": False, "n_params_interval": [5e-4 * c**0.6, 2e-3 * c**0.6]}
        for c in (1e18, 1e19, 1e20)
    ]
    details = {"frontier": rows, **details}
    return LawResult("isoflop", "m", 9, {"N": equation}, 0.1, 0.1, [], details, objective="clm")


def compare(tmp_path, law=None, **cells):
    row = dict.fromkeys(INPUT_COLUMNS, "") | {
        "name": "Table 2", "objective": "clm", "symbol": "a", "published": "0.578",
        "ours": "clm.isoflop:equations/N/a", "why": "Because.",
    }  # fmt: skip
    row |= cells
    path = tmp_path / "constants.tsv"
    lines = ["# comment", "\t".join(INPUT_COLUMNS), "\t".join(row[n] for n in INPUT_COLUMNS)]
    path.write_text("\n".join(lines) + "\n")
    return compare_constants(path, {"clm.isoflop": law or isoflop()}).iloc[0]


VARIANTS = [
    {"source": "notebook", "space": "log", "N": {"a": 0.1}},
    {"source": "notebook", "space": "linear", "N": {"a": 0.5784}},
    {"source": "minima", "space": "linear", "N": {"a": 0.9}},
]
NO_CONSTANTS = pd.DataFrame(columns=list(COLUMNS))
PROCEDURE = "clm.isoflop:published/source=notebook/space=linear/N/a"


def test_constant_reproduced_and_inside_the_interval_needs_no_explanation(tmp_path):
    row = compare(tmp_path, isoflop(published=VARIANTS), procedure=PROCEDURE)
    assert row["by_their_procedure"] == 0.5784
    assert row["relative_difference"] == pytest.approx(0.5784 / 0.578 - 1)
    assert (row["ours"], row["low"], row["high"]) == (0.6, 0.55, 0.65)
    assert (row["reproduced"], row["place"]) == ("as printed", "inside")
    assert row["verdict"].startswith("Reproduced to the last digit")
    assert "Inside our interval 0.55 to 0.65" in row["verdict"]
    assert "Because." not in row["verdict"]


def test_constant_outside_the_interval_has_its_side_and_an_explanation(tmp_path):
    row = compare(tmp_path, published="0.70")
    assert row["verdict"] == "Above our interval 0.55 to 0.65. Because."
    assert compare(tmp_path, published="0.5")["verdict"].startswith("Below our interval")


def test_constant_at_an_end_of_the_interval_is_neither_inside_nor_outside(tmp_path):
    for published in ("0.542", "0.558"):  # another seed moves an end by as much
        row = compare(tmp_path, published=published)
        assert row["verdict"] == "At the lower end of our interval 0.55 to 0.65. Because."
    assert compare(tmp_path, published="0.655")["verdict"].startswith("At the upper end of")


def test_published_exponent_near_an_end_of_the_interval_is_not_called_outside(tmp_path):
    law = isoflop(interval=(0.5797, 0.69), published=VARIANTS, frontier=[])
    row = compare(tmp_path, law, symbol="N: exponent", procedure=PROCEDURE)
    table = row.to_frame().T.infer_objects()
    (finding,) = published_findings({"clm.isoflop": law}, table)["isoflop"]
    assert "exponent, 0.578, lies at the lower end of the interval." in finding.sentence
    assert "outside" not in finding.sentence


def test_constant_not_reproduced_has_the_recomputed_number_and_an_explanation(tmp_path):
    law = isoflop(published=VARIANTS)
    row = compare(tmp_path, law, procedure=PROCEDURE.replace("linear", "log"))
    assert row["reproduced"] == "no"
    assert "gives 0.1, 83 % off: not reproduced" in row["verdict"]
    assert row["verdict"].endswith("Because.")


def test_constant_that_is_not_identified_is_empty_with_a_verdict(tmp_path):
    row = compare(tmp_path, isoflop(a=None, interval=None))
    assert row[["ours", "low", "high"]].isna().all()
    assert row["place"] == "not determined"
    assert row["verdict"] == "The released runs do not determine it. Because."


def test_constant_range_contains_our_value_or_not(tmp_path):
    assert "lies inside the range" in compare(tmp_path, published="0.50-0.70")["verdict"]
    outside = compare(tmp_path, published="0.10-0.20")["verdict"]
    assert "lies outside the range" in outside
    assert outside.endswith("Because.")


@pytest.mark.parametrize(
    ("published", "reproduced", "words"),
    [
        ("0.578", "as printed", "Reproduced to the last digit printed."),
        ("0.57841", "to 1 in 10,000", "Reproduced to 1 in 10,000 or better."),
        ("0.6", "rounded", "Their procedure gives 0.578, which rounds to what is printed."),
        ("0.576", "within 1 %", "Their procedure gives 0.5784, 0.42 % off."),
        ("0.55", "no", "Their procedure gives 0.5784, 5.2 % off: not reproduced to 1 %."),
    ],
)
def test_reproduction_is_one_of_five_and_said_with_its_number(
    tmp_path, published, reproduced, words
):
    row = compare(tmp_path, isoflop(published=VARIANTS), procedure=PROCEDURE, published=published)
    assert row["reproduced"] == reproduced
    assert row["verdict"].startswith(words)


@pytest.mark.parametrize(
    ("evidence", "status", "words"),
    [
        ({"failed": 0.4}, "not_identified", "0.65. Our law is not identified."),
        ({"contradictions": ["it rains"]}, "contradicted", "0.65. A check contradicts our law."),
        ({}, "converged", "Inside our interval 0.55 to 0.65."),
    ],
)
def test_place_in_an_interval_has_the_status_of_our_law_beside_it(
    tmp_path, evidence, status, words
):
    row = compare(tmp_path, replace(isoflop(), evidence=evidence))
    assert row["our_status"] == status
    assert row["verdict"].endswith(words)
    sentence = reproduction(row.to_frame().T.infer_objects()).sentence
    assert ("(1 of them of a law that is not identified)" in sentence) == (
        status == "not_identified"
    )


def test_number_at_its_bound_has_no_interval_to_lie_outside_of(tmp_path):
    row = compare(tmp_path, isoflop(a=0.0, interval=(0.0, 0.0)), published="2.12")
    assert row["place"] == "ours at its bound"
    assert row[["low", "high"]].isna().all()
    assert row["verdict"] == "Our fit ends at the bound, 0, so it has no interval. Because."


@pytest.mark.parametrize(
    ("cells", "mark", "words"),
    [
        ({}, "✓", "as printed, inside"),
        ({"published": "0.576", "ours": ""}, "✓", "within 1 %"),
        ({"published": "0.55"}, "✗", "not reproduced, at an end"),
        ({"published": "0.70", "procedure": ""}, "✗", "above ours"),
        ({"published": "0.10-0.20", "procedure": ""}, "✗", "outside"),
        ({"published": "0.10-0.20", "procedure": "", "ours": ""}, "?", "nothing to compare"),
    ],
)
def test_verdict_in_short_is_a_mark_and_few_words(tmp_path, cells, mark, words):
    row = compare(tmp_path, isoflop(published=VARIANTS), **{"procedure": PROCEDURE} | cells)
    assert in_short(row["reproduced"], row["place"]) == {"mark": mark, "words": words}


def test_marks_are_counted_with_what_they_say_of_rows_with_one_procedure_or_both():
    said = "3 constants: 2 ✓ as published, 1 ✗ not by one procedure or both, 0 ? open"
    assert marks([{"mark": "✓"}, {"mark": "✗"}, {"mark": "✓"}]) == said


def test_verdict_of_a_number_that_our_runs_do_not_determine_is_open(tmp_path):
    row = compare(tmp_path, isoflop(a=None, interval=None))
    assert in_short(row["reproduced"], row["place"]) == {"mark": "?", "words": "not determined"}


def test_look_up_power_of_ten_and_value_at_compute():
    laws = {"clm.isoflop": isoflop()}
    tenfold = look_up("10^ clm.isoflop:equations/N/a", laws)
    assert tenfold.value == pytest.approx(10**0.6)
    assert tenfold.interval == pytest.approx((10**0.55, 10**0.65))
    inside = look_up("clm.isoflop:equations/N @ 3e19", laws)
    assert inside.value == pytest.approx(1e-3 * 3e19**0.6)
    assert inside.interval == pytest.approx((5e-4 * 3e19**0.6, 2e-3 * 3e19**0.6))
    beyond = look_up("clm.isoflop:equations/N @ 1e22", laws)  # the table ends at 1e20
    assert beyond.interval == pytest.approx((5e-4 * 1e22**0.6, 2e-3 * 1e22**0.6))


def test_constants_name_the_row_whose_law_is_missing(tmp_path):
    with pytest.raises(PlmScalingError, match=r"constant 1 \(Table 2 clm a\).*no law mlm"):
        compare(tmp_path, ours="mlm.isoflop:equations/N/a")
    with pytest.raises(PlmScalingError, match=r"Table 2 clm a.*'Z'"):
        compare(tmp_path, ours="clm.isoflop:equations/Z/a")


@pytest.mark.parametrize(
    ("text", "unit"), [("1.26e-3", 1e-5), ("0.578", 1e-3), ("22036.5", 0.1), ("4", 1.0)]
)
def test_last_digit_is_the_unit_of_the_last_printed_digit(text, unit):
    assert last_digit(text) == pytest.approx(unit)


def test_gain_within_noise_is_called_so():
    pairs = [
        {"n_params": n, "gain_nats": gain, "gain_interval": interval, "compute_ratio": 0.3}
        for n, gain, interval in ((1.3e8, 0.043, [0.035, 0.052]), (1.8e9, 0.003, [-0.005, 0.011]))
    ]
    law = replace(isoflop(), law="transfer")
    law.details = {"pairs": pairs, "split": {"best_share": None}}
    sentence = published_findings({"clm.transfer": law}, NO_CONSTANTS)["transfer"][0].sentence
    assert (
        "by 0.043 nats at 130M and 0.003 nats at 1.8B (within noise: -0.005 to 0.011)" in sentence
    )


@pytest.mark.parametrize(
    ("verdict", "ratio", "words"),
    [
        ("global_optimum", 1.001, "is the best fit (objective 0.1 % above the least)"),
        ("local_optimum", 3.06, "is a local optimum, with 3.1 times the objective of the best fit"),
        (
            "no_optimum",
            3.06,
            "has 3.1 times the objective of the best fit, and a descent from it leads to that fit",
        ),
    ],
)
def test_published_row_is_judged_with_its_number_and_said_which_points_are_not_its_own(
    verdict, ratio, words
):
    for source, points in (
        ("the notebook's points", "115 points; the study's fit had 149"),
        ("the final points of the corrected runs", "115 points that it was not fitted to"),
    ):
        check = {"verdict": verdict, "source": source, "n_points": 115, "ratio_to_best": ratio}
        sentence = row_sentence("clm", check)
        assert sentence == f"On {source} ({points}) the row of Table A9 {words}."


def test_findings_are_counted_from_columns_not_from_sentences(tmp_path):
    law = isoflop(published=VARIANTS)
    rows = [
        compare(tmp_path, law, procedure=PROCEDURE),
        compare(tmp_path, law, published="0.558", procedure=PROCEDURE),
        compare(tmp_path, law, published="0.70", ours=""),
    ]
    table = pd.DataFrame(rows).assign(verdict="in other words")
    sentence = reproduction(table).sentence
    assert "Of 2 published" in sentence
    assert "1 are reproduced as printed" in sentence
    assert "1 are not: 1 of Table 2" in sentence
    assert "1 of 2 lie inside the intervals of our fits, 1 at an end of them" in sentence
