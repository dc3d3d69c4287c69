"""Which port may a test's server take, that nobody else takes before it is bound?

Below those the kernel gives to outgoing connections: a client that tries a port of theirs while nobody listens may be
connected to itself, and then the port is taken. Tests that run side by side keep off each other's by a name in the
kernel for each port, which goes with its process.
"""

from __future__ import annotations

import random
import socket
from collections import deque

from cluster.ports import is_free

_PORTS = range(12_000, 20_000)
_KEPT = 100
"""How many a process keeps from others: more than one test needs."""
_claims: deque[socket.socket] = deque()


def free_port() -> int:
    """A free TCP port that no other test takes for the time being."""
    while True:
        port = random.choice(_PORTS)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0agentpool-test-port-{port}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        if len(_claims) > _KEPT:
            _claims.popleft().close()
        if is_free(port):
            return port
