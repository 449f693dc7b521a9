"""TCP ports for servers that this program starts for itself: of `selftest`, benchmarks and tests."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LEAST, _TRIES = 15_000, 100


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has.

    It lies below those that the kernel gives to connections by itself: a server that is killed and started again finds
    it free, however many connections were made meanwhile.

    Raises:
        OSError: Every port that was tried is taken.
    """
    above = int(_RANGE.read_text().split()[0])
    for _ in range(_TRIES):
        port = random.randrange(min(_LEAST, above - 1), above)  # noqa: S311 - nothing secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"None of {_TRIES} ports of this machine is free.")
