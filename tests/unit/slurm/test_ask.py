"""What is read from the answers of Slurm's commands."""

import pytest
from pretended_slurm import PARTITION, pretended_slurm, small_site

from plm_scaling.common.errors import SlurmError
from plm_scaling.slurm import ask
from plm_scaling.slurm.limits import Account, Limits, NodeKind, Partition

# As sacctmgr 22.05 printed it, with another cluster of the same database.
ASSOCIATIONS = """\
tests|lab|other||normal|7|01:00:00
tests|lab|lab||normal|20|
elsewhere|lab|lab||normal|1|
tests|lab|root|high|high,normal||
"""
SERVICES = """\
normal||||
high|50|||1-00:00:00
part|30|||1-00:00:00
"""


@pytest.fixture
def asks(tmp_path, monkeypatch):
    """A function that puts a pretended Slurm into PATH and asks it."""

    def limits(answers):
        folder = pretended_slurm(tmp_path / "slurm", answers)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        ask.site_limits.cache_clear()
        return ask.site_limits()

    yield limits
    ask.site_limits.cache_clear()


def test_a_site_without_accounting(asks, tmp_path):
    kind = NodeKind(2, cpus=8, memory_mb=7500, gpus=4)
    assert asks(small_site()) == Limits(
        (Partition("main", (kind,), minutes=120, default=True),), submitted=10000
    )
    calls = tmp_path.joinpath("slurm/calls").read_text().splitlines()
    ask.site_limits()
    assert tmp_path.joinpath("slurm/calls").read_text().splitlines() == calls  # asked once
    assert len(calls) == 4


def test_a_site_with_accounting_and_quality_of_service(asks):
    answers = small_site("UNLIMITED", accounting="slurmdbd", qos="part") | {
        "sacctmgr --noheader --parsable2 show user": ASSOCIATIONS,
        "sacctmgr --noheader --parsable2 show qos": SERVICES,
    }
    limits = asks(answers)
    assert limits.accounts == (
        Account("other", submitted=7, minutes=60),
        Account("lab", submitted=20, default=True),
        Account("root", submitted=50, minutes=1440),
    )
    assert limits.most_submitted({}) == 20
    assert limits.most_submitted({"slurm_account": "root"}) == 30  # the partition's QOS
    assert limits.partitions[0].minutes == 1440  # the same


def test_kinds_of_nodes_of_several_partitions(asks):
    gpu = PARTITION.format(name="gpu", default="NO", qos="N/A", nodes="4", time="7-00:00:00")
    answers = small_site()
    answers["scontrol show partition"] += gpu + "\n"
    answers["scontrol show node gpu01,n1"] = answers.pop("scontrol show node n1 ")
    answers["sinfo "] += (
        "gpu|8|gpu[01-07,10]|1031000|128|gpu:h100:8(S:0-1)|h100,ib\n"
        "gpu|3|old[1-3]|500000|48|gpu:a100:2,gpu:v100:2,shard:8|(null)\n"
    )
    answers["scontrol show node gpu01,n1,old1"] = answers.pop("scontrol show node gpu01,n1")
    partition = asks(answers).partitions[1]
    assert (partition.name, partition.minutes, partition.nodes) == ("gpu", 10080, 4)
    assert partition.kinds == (
        NodeKind(8, 128, 1_031_000, 8, ("h100", "ib")), NodeKind(3, 48, 500_000, 4),
    )  # fmt: skip


def test_slurm_that_does_not_answer_or_is_not_there(asks, monkeypatch, tmp_path, caplog):
    assert asks({"scontrol ping": ""}) == Limits()
    assert "no such question" in caplog.text
    caplog.clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    ask.site_limits.cache_clear()
    assert ask.site_limits() == Limits()
    assert not caplog.text


def test_a_command_that_says_something_and_hangs_is_an_error_of_slurm():
    command = ["sh", "-c", "echo 'sh: error: no controller' >&2; exec sleep 60"]
    with pytest.raises(SlurmError, match="sh does not answer: error: no controller"):
        ask.ask(command, seconds=1)


def test_part_of_the_answers_is_missing(asks):
    answers = small_site(accounting="slurmdbd")  # whose sacctmgr does not answer
    del answers["scontrol show node n1 "]
    limits = asks(answers)
    assert limits.accounts == ()
    assert limits.partitions[0].kinds[0].memory_mb == 8000
