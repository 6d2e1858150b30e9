"""Processes that nothing told an address find each other by a note, or say who did not come."""

import json
import os
import pickle
import platform
import signal
import socket
import time

import pytest
import torch
import torch.distributed as dist
from forks import exit_code, fork

from plm_scaling.common.errors import ProcessError
from plm_scaling.train.distributed import addresses, meeting
from plm_scaling.train.distributed.addresses import greeter, interface_of, own_addresses
from plm_scaling.train.distributed.meeting import Meeting
from plm_scaling.train.distributed.rendezvous import Rendezvous


def meet(folder, rank, of, seconds=120, host=None, job="77"):
    """What a process finds: (sum of all ranks over gloo, interface), or the error."""
    if host:
        platform.node = lambda: host  # in a fork
    try:
        met = Meeting(Rendezvous(rank, of, 0, job=job), folder, seconds)
    except ProcessError as error:
        return str(error)
    os.environ["GLOO_SOCKET_IFNAME"] = met.interface
    dist.init_process_group("gloo", store=met.store, rank=rank, world_size=of)
    ranks = torch.tensor(float(rank))
    dist.all_reduce(ranks)
    dist.barrier()
    dist.destroy_process_group()
    return ranks.item(), met.interface


def found(processes, folder):
    """What each of the forks returned, by rank."""
    codes = [exit_code(process) for process in processes]
    assert not any(codes)
    return [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.pickle"))]


def start(folder, ranks, of, **options):
    run = folder / "run"
    return [
        fork(lambda rank=rank: meet(run, rank, of, **options), folder / f"{rank}.pickle")
        for rank in ranks
    ]


def test_processes_of_a_host_meet_on_its_loopback_and_leave_no_note(tmp_path):
    assert found(start(tmp_path, range(3), 3), tmp_path) == [(3.0, "lo")] * 3
    assert not any((tmp_path / "run").iterdir())


@pytest.mark.skipif(not own_addresses(), reason="this host has nothing but a loopback interface")
def test_hosts_whose_names_do_not_resolve_meet_on_the_interface_between_them(tmp_path):
    """Two processes on each: what those beside the first one tell others is not 127.0.0.1."""
    processes = []
    for rank in range(4):
        processes += start(tmp_path, [rank], 4, host=f"gpu{rank // 2}.cluster.invalid")
    between = interface_of(own_addresses()[0])
    assert between != "lo"
    assert found(processes, tmp_path) == [(6.0, between)] * 4


def test_others_are_told_ipv4_first_and_answered_by_either(monkeypatch):
    """IPv6 addresses may be there that nothing reaches."""
    here = [address for address in ("127.0.0.1", "::1") if interface_of(address)]
    interfaces = {"fd00::7": "ib0", "127.0.0.1": "lo", "10.1.0.7": "ib0", "::1": "lo"}
    monkeypatch.setattr(addresses, "_interfaces", lambda: interfaces)
    assert own_addresses() == ["10.1.0.7", "fd00::7"]
    with greeter(b"token 1234") as listening:
        port = listening.getsockname()[1]
        for address in here:
            with socket.create_connection((address, port), timeout=600) as asking:
                assert asking.recv(100) == b"token 1234"
        listening.shutdown(socket.SHUT_RDWR)


def test_note_of_an_earlier_start_is_not_followed(tmp_path, monkeypatch):
    """Though something listens at its port: an earlier start's, or another program."""
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setattr(meeting, "CONNECTING_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent, greeter(b"another 1234") as other:
        for port in (other.getsockname()[1], silent.getsockname()[1]):
            note = {"token": "old", "host": platform.node(), "port": port, "addresses": []}
            (run / ".meeting-77.json").write_text(json.dumps(note))
            second = start(tmp_path, [1], 2)
            time.sleep(0.5)
            assert found(start(tmp_path, [0], 2) + second, tmp_path) == [(1.0, "lo")] * 2
        other.shutdown(socket.SHUT_RDWR)


def test_two_jobs_of_a_cell_do_not_mix(tmp_path):
    processes = {}
    for job in ("77", "78"):
        (tmp_path / job).mkdir()
        (tmp_path / job / "run").symlink_to(tmp_path)
    for rank in (1, 0):
        for job in ("77", "78"):
            processes.setdefault(job, []).extend(start(tmp_path / job, [rank], 2, job=job))
    for job, started in processes.items():
        assert found(started, tmp_path / job) == [(1.0, "lo")] * 2


def test_who_did_not_come_is_said(tmp_path):
    here = platform.node()
    second = start(tmp_path, [1], 3, seconds=60)  # it ends with the first one
    said, _ = found(start(tmp_path, [0], 3, seconds=6) + second, tmp_path)
    assert f"of 3 processes 2 came to meet: 0 ({here}), 1 ({here}); 2 did not" in said


def test_first_process_that_never_comes_is_said_with_the_note(tmp_path):
    (said,) = found(start(tmp_path, [1], 2, seconds=1), tmp_path)
    note = tmp_path / "run/.meeting-77.json"
    assert (
        f"process 1 of 2 on {platform.node()} waited in vain for the first one, which writes "
        in said
    )
    assert str(note) in said


def test_two_processes_of_a_number_are_refused(tmp_path):
    (tmp_path / "again").mkdir()
    (tmp_path / "again/run").symlink_to(tmp_path / "run")
    first, one = start(tmp_path, [0, 1], 3, seconds=120)
    (other,) = start(tmp_path / "again", [1], 3, seconds=120)
    ended = 0
    while ended not in (one, other):  # the one that came later
        ended, code = os.waitpid(-1, 0)
        assert (ended, code) != (first, 0)
    folder = tmp_path if ended == one else tmp_path / "again"
    for process in {first, one, other} - {ended}:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    said = pickle.loads((folder / "1.pickle").read_bytes())
    assert "two processes of the job are number 1" in said


def test_address_that_cannot_be_reached_is_said(monkeypatch):
    with pytest.raises(
        ProcessError, match=r"process 1 of 2 on .* cannot reach nowhere\.invalid:29500"
    ):
        Meeting(Rendezvous(1, 2, 0, "nowhere.invalid", 29500), None, 1)
