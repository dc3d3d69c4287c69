"""Was every endpoint reached once since the start? A connection is made and closed; no request is sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable

from agent_runtime.models.endpoints import Endpoint
from agentpool_api.wire import Problem

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0


class Reach:
    """Which endpoints have answered a connection."""

    def __init__(self, endpoints: Iterable[Endpoint], *, field_prefix: str, timeout_s: float) -> None:
        self._field_prefix = field_prefix
        self._timeout_s = timeout_s
        self._endpoints = tuple(endpoints)
        self._missing = {endpoint.host: endpoint for endpoint in reversed(self._endpoints)}
        self._why: dict[str, str] = {}

    @property
    def all_reached(self) -> bool:
        return not self._missing

    @property
    def problems(self) -> list[Problem]:
        """The endpoints that were tried and not reached yet."""
        return [
            Problem(
                reason="EndpointUnreachable",
                field=f"{self._field_prefix}models[{endpoint.index}].endpoint",
                message=f"no connection to {host}: {self._why[host]}; check the endpoint and the network policies",
            )
            for host, endpoint in self._missing.items()
            if host in self._why
        ]

    async def try_all(self) -> None:
        """Try until each endpoint was reached."""
        await asyncio.gather(*(self._try(host, endpoint) for host, endpoint in list(self._missing.items())))

    async def _try(self, host: str, endpoint: Endpoint) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            why = await connect(endpoint, self._timeout_s)
            if why is None:
                self._missing.pop(host, None)
                return
            self._why[host] = why
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


async def connect(endpoint: Endpoint, timeout_s: float) -> str | None:
    """Make a connection as a call would and close it; what failed, or None."""
    url = endpoint.url
    context = ssl.create_default_context() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
            writer.transport.abort()
    except TimeoutError:
        return "no answer in time"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not trusted ({error.verify_message})"
    except ssl.SSLError:
        return "TLS failed; is the scheme right?"
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return None
