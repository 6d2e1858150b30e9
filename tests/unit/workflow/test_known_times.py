"""The time left of a run whose jobs are known: counted, and measured."""

import json

import pytest

from plm_scaling.common.errors import ConfigError
from plm_scaling.workflow.known_times import Known, KnownTimes, measured, read_known


@pytest.fixture
def times():
    known = {
        "clean_source": Known(2, 5.0),
        "place_stage": Known(1, 10.0, places=4),
        "train_cell": Known(6, 20.0),
        "fit_law": Known(3, 30.0),
        "make_report": Known(1, 1.0),
    }
    times = KnownTimes(known)
    times.plan({"clean_source": 2, "place_stage": 1, "train_cell": 2, "all": 1})
    return times


ALL = 2 * 5 + 10 + 6 * 20 + 3 * 30 + 1


def test_cells_to_be_placed_and_the_calls_that_follow_are_counted_before_any_job(times):
    assert times.left(0) == ALL
    assert times.follow == ["laws", "report"]


def test_a_slow_machine_is_known_by_its_first_jobs(times):
    times.ended("clean_source")
    times.ended("clean_source")
    assert times.left(10) == ALL - 10  # as fast as the one of the table
    assert times.left(50) == pytest.approx((ALL - 10) * 80 / 40)


def test_nothing_is_left_at_the_end_of_the_last_call(times):
    times.plan({"fit_law": 1, "make_report": 1, "report": 1})
    assert (times.left(0), times.follow) == (31, [])
    for rule in ("fit_law", "make_report", "report", "unknown"):
        times.ended(rule)
    assert times.left(100) == 0


def events(*lines):
    return "".join(
        json.dumps(
            {"event": event, "time": at, **({"job": job} | ({"rule": rule} if rule else {}))}
        )
        + "\n"
        for at, event, job, rule in lines
    )


def test_share_of_a_job_is_its_time_over_how_many_ran_and_shares_add_up(tmp_path):
    start, end = "job_info", "job_finished"
    lines = [(0, "planned", -1, ""), (2, start, 1, "plan_sweep"), (3, start, 2, "train_cell")]
    lines += [(5, end, 1, ""), (9, end, 2, ""), (9, start, 3, "place_stage"), (10, end, 3, "")]
    lines += [(11, start, 4, "train_cell"), (12, end, 4, "")]
    (tmp_path / "jobs.jsonl").write_text(events(*lines))
    found = measured([tmp_path / "jobs.jsonl"])
    assert found["plan_sweep"] == Known(1, 2 + 1 + 2 / 2)
    assert found["train_cell"] == Known(2, (2 / 2 + 4 + 1 + 1) / 2)
    assert found["place_stage"] == Known(1, 1.0, places=1)
    assert sum(one.jobs * one.seconds for one in found.values()) == 12


HEADER = "rule\tjobs\tseconds\tplaces\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("a\tb\n1\t2\n", "columns"),
        (f"{HEADER}fit_law\t1\ty\t0\n", "columns"),
        (f"{HEADER}fit_law\t1\t2.0\t0\nfit_lw\t1\t2.0\t0\n", "is named fit_lw"),
    ],
)
def test_bad_table_is_named(tmp_path, text, said):
    if text is not None:
        (tmp_path / "times.tsv").write_text(text)
    with pytest.raises(ConfigError, match=rf"times\.tsv: .*{said}"):
        read_known(tmp_path / "times.tsv")
