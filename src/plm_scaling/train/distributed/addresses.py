"""Addresses of this host, without asking for its name, which need not resolve."""

import fcntl
import socket
import struct
import threading
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path

SIOCGIFADDR = 0x8915  # of Linux: the IPv4 address of a network interface


def own_addresses() -> list[str]:
    """IPv4 and then global IPv6 addresses of this host, without those that only it can reach."""
    addresses = [address for address in _interfaces() if not ip_address(address).is_loopback]
    return sorted(addresses, key=lambda address: ":" in address)


def interface_of(address: str) -> str:
    """The network interface that has this address; empty if none has."""
    return _interfaces().get(address, "")


def _interfaces() -> dict[str, str]:
    """Interface of each address of this host; of link-local IPv6 none."""
    names: dict[str, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has none
                continue
            names[socket.inet_ntoa(answer[20:24])] = name
    table = Path("/proc/net/if_inet6")
    for line in table.read_text().splitlines() if table.exists() else []:
        digits, *_, name = line.split()
        address = IPv6Address(int(digits, 16))
        if not address.is_link_local:
            names[str(address)] = name
    return names


def greeter(words: bytes) -> socket.socket:
    """A listening socket, at a port that is free, that says `words` to whoever connects to it, by
    IPv4 or IPv6, until it is shut down."""
    if socket.has_dualstack_ipv6():
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        listening = socket.create_server(("", 0))

    def greet() -> None:
        with suppress(OSError):  # it is shut down
            while True:
                connection, _ = listening.accept()
                with connection, suppress(OSError):
                    connection.sendall(words)

    threading.Thread(target=greet, name="greeter", daemon=True).start()
    return listening
