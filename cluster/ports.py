"""Which TCP ports are free?"""

import random
import socket
from collections.abc import Sequence

_BELOW_EPHEMERAL = range(20000, 32000)  # the kernel hands out 32768 and up to outgoing connections


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """A free port for each name, different ones. Another process may still be faster: callers try again then."""
    chosen: dict[str, int] = {}
    while len(chosen) < len(names):
        port = random.choice(_BELOW_EPHEMERAL)
        if port not in chosen.values() and is_free(port):
            chosen[names[len(chosen)]] = port
    return chosen


def is_free(port: int, address: str = "0.0.0.0") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
