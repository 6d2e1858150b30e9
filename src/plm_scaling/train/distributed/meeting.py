"""How the processes of a job find each other.

torchrun gives them an address. srun, mpirun and their like do not: there the first process opens a
port that is free and writes its addresses into a note in the run's folder, which all processes see.
So no name of a host has to resolve, and two jobs on a node cannot choose the same port.
"""

import os
import platform
import secrets
import socket
import time
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import torch.distributed as dist

from plm_scaling.common.errors import ProcessError
from plm_scaling.common.files import read_json, write_json
from plm_scaling.train.distributed.addresses import greeter, interface_of, own_addresses
from plm_scaling.train.distributed.rendezvous import Rendezvous

CONNECTING_SECONDS = (
    3.0  # for an address that is reached; one that is not may be silent for minutes
)
LOOKING_SECONDS = 0.5  # between looks for the note
GREETING_BYTES = 64  # at most


class Meeting:
    """The processes of a job meet once, within some seconds.

    `store` is what they have in common then, `interface` the network interface by which this host
    reaches the others (empty: not known). Raises `ProcessError` saying which of them came.
    """

    def __init__(self, place: Rendezvous, folder: Path | None, seconds: float) -> None:
        """`folder` is where a note can be left; it is needed where `place` has no address."""
        self.place = place
        self.end = time.monotonic() + seconds
        self.reached_by = ""
        """Own address of the connection to the first process, where a note told its."""
        self.reached_at = ""
        """The first process's address of that connection."""
        self._greeter: socket.socket | None = None
        try:
            self.store = self._store(folder)
            self.interface = self._wait_for_all()
        except RuntimeError as error:  # what PyTorch raises, of a class for each of its versions
            raise ProcessError(
                f"process {place.rank} of {place.world_size} on {platform.node()} lost the first "
                f"one: {str(error).splitlines()[0]}; its message says why"
            ) from error
        finally:
            if self._greeter is not None and folder is not None:
                self._greeter.shutdown(socket.SHUT_RDWR)
                self._greeter.close()
                _note(folder, place).unlink(missing_ok=True)

    def _left(self) -> timedelta:
        return timedelta(seconds=max(1.0, self.end - time.monotonic()))

    def _store(self, folder: Path | None) -> dist.Store:
        place = self.place
        if place.address is not None and place.port is not None:
            # torchrun has opened the port already and says so.
            opened = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
            return self._connected(place.address, place.port, opens=place.rank == 0 and not opened)
        if folder is None:
            raise ProcessError("processes that srun or mpirun starts need a folder to meet in")
        if place.rank == 0:
            return self._announced(folder)
        return self._found(folder)

    def _connected(self, address: str, port: int, opens: bool) -> dist.TCPStore:
        try:
            return dist.TCPStore(
                address, port, is_master=opens, wait_for_workers=False, timeout=self._left()
            )
        except RuntimeError as error:
            raise ProcessError(
                f"process {self.place.rank} of {self.place.world_size} on {platform.node()} cannot "
                f"{'open' if opens else 'reach'} {address}:{port} (MASTER_ADDR, MASTER_PORT): "
                f"{str(error).splitlines()[0]}"
            ) from error

    def _announced(self, folder: Path) -> dist.Store:
        """Open a port that is free and write the note."""
        token = secrets.token_hex(8)
        store = self._connected("127.0.0.1", 0, opens=True)
        self._greeter = greeter(f"{token} {store.port}".encode())
        folder.mkdir(parents=True, exist_ok=True)
        note = {"token": token, "host": platform.node(), "port": self._greeter.getsockname()[1]}
        write_json(_note(folder, self.place), note | {"addresses": own_addresses()})
        return store

    def _found(self, folder: Path) -> dist.Store:
        """Look for the note, and for the process that wrote it."""
        path, tried = _note(folder, self.place), ""
        while time.monotonic() < self.end:
            note = _read(path)
            for address in _candidates(note):
                if store := self._answering(address, note["port"], note["token"]):
                    return store
                tried = f"; {note['host']} did not answer as the first one by {path}"
            time.sleep(LOOKING_SECONDS)
        place = self.place
        raise ProcessError(
            f"process {place.rank} of {place.world_size} on {platform.node()} waited in vain for "
            f"the first one, which writes {path}{tried}; see that all nodes share this folder and "
            "reach each other by TCP"
        )

    def _answering(self, address: str, port: int, token: str) -> dist.Store | None:
        """The store at this address, if it is that of the note: another may have the port now, and
        every host has some addresses of its own that others have too. PyTorch would wait for an
        answer of whatever is there, for ever."""
        try:
            with socket.create_connection((address, port), CONNECTING_SECONDS) as connection:
                greeting = connection.makefile("rb").read(GREETING_BYTES).decode(errors="replace")
                reached_by = connection.getsockname()[0]
        except OSError:
            return None
        answered, _, store_port = greeting.partition(" ")
        if answered != token:
            return None
        self.reached_by, self.reached_at = reached_by, address
        return self._connected(address, int(store_port), opens=False)

    def _wait_for_all(self) -> str:
        """Until all processes are there; the interface by which hosts reach each other."""
        place, host = self.place, platform.node()
        arrived = dist.PrefixStore("arrived", self.store)
        if arrived.add(f"count/{place.rank}", 1) > 1:
            raise ProcessError(
                f"two processes of the job are number {place.rank}; start each cell in a job, or "
                "a step of a job, of its own"
            )
        if self.reached_by and not ip_address(self.reached_by).is_loopback:
            arrived.set("address", self.reached_at)
        arrived.set(str(place.rank), host)
        hosts: list[str] = []
        for rank in range(place.world_size):
            try:
                arrived.wait([str(rank)], self._left())
            except RuntimeError:
                raise ProcessError(self._who_came(arrived)) from None
            hosts.append(arrived.get(str(rank)).decode())
        if place.address is not None:
            return "lo" if place.address in ("127.0.0.1", "::1", "localhost") else ""
        if not arrived.check(["address"]):
            return "lo"  # nobody came from another host
        own = self.reached_by
        if not own or ip_address(own).is_loopback:
            own = arrived.get("address").decode()
        return interface_of(own)

    def _who_came(self, arrived: dist.Store) -> str:
        ranks = range(self.place.world_size)
        there = {
            rank: arrived.get(str(rank)).decode() for rank in ranks if arrived.check([str(rank)])
        }
        came = ", ".join(f"{rank} ({host})" for rank, host in there.items())
        missing = ", ".join(str(rank) for rank in ranks if rank not in there)
        return (
            f"of {len(ranks)} processes {len(there)} came to meet: {came}; {missing} did not "
            "(training.start_minutes); look into their logs and at their hosts"
        )


def _note(folder: Path, place: Rendezvous) -> Path:
    """Of this job, where it is known, so that another one of the same cell writes over nothing."""
    return folder / f".meeting{place.job and f'-{place.job}'}.json"


def _read(path: Path) -> dict[str, Any]:
    """The note; empty if there is none."""
    try:
        note: dict[str, Any] = read_json(path)
    except (OSError, ValueError):
        return {}
    return note


def _candidates(note: dict[str, Any]) -> list[str]:
    """Addresses at which the writer of the note may be reached, IPv4 first: IPv6 may have addresses
    and no routes. None without a note."""
    if not note:
        return []
    own = ["127.0.0.1"] if note["host"] == platform.node() else []
    try:
        found = socket.getaddrinfo(note["host"], None, proto=socket.IPPROTO_TCP)
    except OSError:  # only the scheduler knows the name
        found = []
    by_name = sorted((str(entry[4][0]) for entry in found), key=lambda address: ":" in address)
    return list(dict.fromkeys([*own, *by_name, *note["addresses"]]))
