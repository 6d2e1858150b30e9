"""Which jobs a box of GPUs starts, and in which order."""

import math

from snakemake_scheduler_plugin_backfill import Asked, chosen


def job(name, gpus, hours=10.0, priority=0, cores=1):
    resources = {"_cores": cores} | ({"gpu": gpus} if gpus else {})
    return Asked(name, priority, resources, hours)


def names(ready, gpus, cores=100, running=()):
    return [asked.job for asked in chosen(ready, {"_cores": cores, "gpu": gpus}, running)]


def test_as_many_start_as_there_are_gpus_by_priority():
    ready = [job(str(n), 1, priority=n) for n in range(12)]
    assert names(ready, 8) == ["11", "10", "9", "8", "7", "6", "5", "4"]


def test_of_equal_jobs_the_largest_start_first():
    assert names([job("a", 1), job("b", 8), job("c", 4)], 8) == ["b"]
    assert names([job("a", 1), job("b", 2), job("c", 4)], 8) == ["c", "b", "a"]


def test_a_large_job_is_not_overtaken_by_those_that_would_delay_it():
    """Two GPUs are free, two more in 5 and in 7 hours: the large job starts in 7."""
    ready = [job("large", 4, priority=1), job("long", 1, hours=8), job("short", 1, hours=6)]
    running = [(5.0, 1), (7.0, 1), (9.0, 1)]
    assert names(ready, 2, running=running) == ["short"]
    assert names([*ready, job("also short", 1, hours=7)], 2, running=running) == [
        "short",
        "also short",
    ]


def test_what_the_large_job_leaves_over_is_used_meanwhile():
    """In 5 hours 5 GPUs are free, one more than the large job takes."""
    ready = [job("large", 4, priority=1), *(job(f"long {n}", 1, hours=90) for n in range(3))]
    assert names(ready, 2, running=[(5.0, 3)]) == ["long 0"]


def test_a_job_without_a_run_time_does_not_run_before_a_large_one():
    ready = [job("large", 4, priority=1), job("unknown", 1, hours=math.inf)]
    assert names(ready, 3, running=[(5.0, 1)]) == []


def test_jobs_without_gpus_start_beside_as_cores_allow():
    ready = [job("large", 4, priority=1), job("data", 0, cores=3), job("more data", 0, cores=3)]
    assert names(ready, 2, cores=4, running=[(5.0, 2)]) == ["data"]


def test_gpus_are_kept_for_a_job_that_waits_for_cores():
    ready = [job("first", 2, priority=1, cores=8), job("second", 1, hours=1.0)]
    assert names(ready, 2, cores=4) == []


def test_without_gpus_jobs_start_by_priority():
    jobs = [job("a", 0, cores=2), job("b", 0, cores=2, priority=1)]
    assert [asked.job for asked in chosen(jobs, {"_cores": 3}, [])] == ["b"]
