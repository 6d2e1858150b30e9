"""What a site's limits make of what jobs ask for."""

import pytest

from plm_scaling.slurm.limits import (
    Account,
    Limits,
    NodeKind,
    Partition,
    fitted,
    reason_never_starts,
    with_given,
)

CPU = Partition("cpu", (NodeKind(40, cpus=64, memory_mb=250_000),), minutes=2880, default=True)
GPU = Partition(
    "gpu",
    (
        NodeKind(8, cpus=128, memory_mb=1_000_000, gpus=8, features=("h100", "ib")),
        NodeKind(20, cpus=48, memory_mb=500_000, gpus=4, features=("a100",)),
        NodeKind(2, cpus=64, memory_mb=2_000_000, features=("fat",)),
    ),
    minutes=1440,
    nodes=4,
    submitted=50,
)
SITE = Limits(
    (CPU, GPU),
    (Account("bio", submitted=20, minutes=600), Account("chem", submitted=500, default=True)),
    submitted=10_000,
)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"mem_mb": 250_000, "runtime": 2880, "_cores": 64}, None),
        ({"runtime": 2881}, "2881 min, and partition cpu allows 2880"),
        ({"runtime": 601, "slurm_account": "bio"}, "601 min, and partition cpu allows 600"),
        ({"mem_mb": 250_001}, "250,001 MB of a node, and those of partition cpu have 250,000"),
        ({"_cores": 65}, "65 cores of a node"),
        ({"gpu": 1}, "1 GPUs of a node, and those of partition cpu have 0"),
        ({"slurm_partition": "gpu", "gpu": 8, "nodes": 1, "mem_mb": 1_000_000}, None),
        # The memory of the nodes that have the GPUs counts, not that of any.
        ({"slurm_partition": "gpu", "gpu": 8, "nodes": 1, "mem_mb": 1_000_001}, "have 1,000,000"),
        ({"slurm_partition": "gpu", "gpu": 16, "nodes": 1}, "16 GPUs of a node"),
        ({"slurm_partition": "gpu", "gpu": 32, "nodes": 4}, None),
        ({"slurm_partition": "gpu", "gpu": 40, "nodes": 5}, "5 nodes, and partition gpu allows 4"),
        ({"slurm_partition": "gpu", "gpu": 8, "nodes": 1, "constraint": "a100"}, "have 4"),
        ({"slurm_partition": "gpu", "constraint": "v100"}, "the feature v100"),
        ({"slurm_partition": "gpu", "constraint": "a100|h100", "gpu": 8}, None),
        ({"slurm_partition": "cpu,gpu", "gpu": 4}, None),  # Slurm takes any of them
        ({"slurm_partition": "elsewhere", "mem_mb": 10**9}, None),  # for Slurm to say
    ],
)
def test_job_that_never_starts_is_told_from_one_that_does(asked, reason):
    said = reason_never_starts(asked, SITE)
    assert (said is None) == (reason is None), said
    assert reason is None or reason in said


def test_too_few_nodes_of_a_kind():
    few = Limits((Partition("p", (NodeKind(2, 8, 1000, 4), NodeKind(9, 8, 1000)), default=True),))
    assert "asks for 3 such nodes, and partition p has 2" in reason_never_starts(
        {"gpu": 12, "nodes": 3}, few
    )


def test_time_memory_and_cores_are_fitted_to_the_nodes_that_can_take_the_job():
    asked = {"mem_mb": 10**7, "runtime": 10**5, "_cores": 256, "gpu": 4, "nodes": 1}
    on_gpu = fitted(asked | {"slurm_partition": "gpu", "constraint": "a100"}, SITE)
    assert (on_gpu["mem_mb"], on_gpu["runtime"], on_gpu["_cores"]) == (500_000, 1440, 48)
    assert reason_never_starts(on_gpu, SITE) is None
    either = fitted(asked | {"slurm_partition": "cpu,gpu"}, SITE)
    assert (either["mem_mb"], either["runtime"]) == (1_000_000, 1440)
    assert fitted({"mem_mb": 5, "runtime": 6, "_cores": 7}, SITE) == {
        "mem_mb": 5, "runtime": 6, "_cores": 7,
    }  # fmt: skip
    # Each of the processes that srun starts gets its cores: fewer in all would leave some without.
    wide = fitted({"slurm_partition": "gpu", "gpu": 16, "nodes": 2, "_cores": 256}, SITE)
    assert wide["_cores"] == 256
    assert "256 cores of a node" in reason_never_starts(wide, SITE)


def test_what_the_profile_gives_counts_before_what_slurm_says():
    given = with_given(SITE, runtime=90, mem_mb=3000)
    fits = fitted({"mem_mb": 240_000, "runtime": 1440}, given)
    assert (fits["mem_mb"], fits["runtime"]) == (3000, 90)
    alone = with_given(Limits(), runtime=90, mem_mb=3000)
    assert fitted({"mem_mb": 240_000, "runtime": 1440}, alone) == fits
    assert "allows 3,000" in reason_never_starts({"mem_mb": 3001}, alone)


def test_nothing_is_changed_or_refused_where_nothing_is_known():
    asked = {"mem_mb": 10**9, "runtime": 10**9, "gpu": 10**4}
    assert fitted(asked, Limits()) == asked
    assert reason_never_starts(asked, Limits()) is None


def test_jobs_that_can_be_submitted_are_the_least_of_all_limits():
    assert SITE.most_submitted({}) == 500
    assert SITE.most_submitted({"slurm_account": "bio"}) == 20
    assert SITE.most_submitted({"slurm_partition": "gpu"}) == 50
    assert Limits().most_submitted({}) is None


def test_limits_are_read_from_what_they_are_passed_on_as():
    assert Limits.from_json(with_given(SITE, runtime=3).to_json()) == with_given(SITE, runtime=3)
