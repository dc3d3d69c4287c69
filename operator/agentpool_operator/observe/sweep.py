"""What is really there? Lists fill the store at start, and find deletions a cut-off watch has missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import httpx2
import structlog
from lightkube import AsyncClient

from agentpool_api.labels import MANAGED_BY, MANAGED_BY_LABEL
from agentpool_operator.errors import ClusterUnavailableError
from agentpool_operator.kinds import AGENT_POOL, COST_BUDGET, MANAGED, POD
from agentpool_operator.observe.cluster import ObjectKey, PoolKey
from agentpool_operator.observe.store import Store

log = structlog.get_logger(__name__)

CHUNK = 100
"""Objects per page of a list: a page of pods takes megabytes while it is read."""

PERIOD_S = 300.0
SHOWN_S = 2.0
"""Time a watch that began anew has to show its list, before what it did not show is looked for."""
LONGEST_PUT_OFF_S = 60.0
"""After this a sweep no longer waits for what is more urgent."""

SWEPT: tuple[tuple[str, Any, bool], ...] = (
    ("AgentPool", AGENT_POOL, False),
    ("CostBudget", COST_BUDGET, False),
    ("Pod", POD, True),
    *((kind, resource, True) for kind, resource in MANAGED.items()),
)
"""Kind, resource, and whether only objects with our label are of interest."""

ALL_KINDS = frozenset(kind for kind, _, _ in SWEPT)


async def sweep(
    client: AsyncClient, store: Store, namespaces: Sequence[str], kinds: Collection[str] = ALL_KINDS
) -> list[ObjectKey | PoolKey]:
    """Bring the store up to date with lists of these kinds. Returns what was forgotten.

    Objects the store knows are left as they are: the watch is newer than a list. Raises ClusterUnavailableError, which
    says when a kind is not installed or may not be listed.
    """
    forgotten: list[ObjectKey | PoolKey] = []
    for kind, resource, labelled in [each for each in SWEPT if each[0] in kinds]:
        known = set(store.uids(kind))
        present: set[str] = set()
        for namespace in namespaces or ("*",):
            labels: Any = {MANAGED_BY_LABEL: MANAGED_BY} if labelled else None
            try:
                async for body in client.list(resource, namespace=namespace, chunk_size=CHUNK, labels=labels):
                    uid = str(body["metadata"]["uid"])
                    present.add(uid)
                    found = {**body, "kind": kind, "apiVersion": resource_version(resource)}
                    if uid not in known and not store.knows(found):  # a watch may have shown it since, and newer
                        store.put(found)
            except httpx2.HTTPError as error:
                where = "anywhere" if namespace == "*" else f"in namespace {namespace}"
                raise ClusterUnavailableError(f"{kind} cannot be listed {where}: {error}") from error
        forgotten += store.keep_only(kind, present, known)
    return forgotten


class Relisted:
    """Kinds whose watches began anew, until they are swept."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._some = asyncio.Event()

    def add(self, kind: str) -> None:
        """A watch of this kind shows a list."""
        self._kinds.add(kind)
        self._some.set()

    async def take(self, timeout_s: float) -> set[str]:
        """The kinds, once there are some and their lists were shown; none when the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._some.wait()
        except TimeoutError:
            return set()
        await asyncio.sleep(SHOWN_S)
        kinds, self._kinds = self._kinds, set()
        self._some.clear()
        return kinds


async def sweep_for_ever(
    client: AsyncClient,
    store: Store,
    namespaces: Sequence[str],
    ask: Callable[[ObjectKey], None],
    relisted: Relisted,
    is_behind: Callable[[], bool],
) -> None:
    """Find what a watch has missed: soon after it began anew, and now and then everywhere. Asks for passes.

    It waits while passes are ``behind``: after a start the watches show everything a second time, and a list of it once
    more would take from the passes what they need.
    """
    while True:
        kinds = await relisted.take(PERIOD_S)
        for _ in range(int(LONGEST_PUT_OFF_S / SHOWN_S)):
            if not is_behind():
                break
            await asyncio.sleep(SHOWN_S)
        try:
            for gone in await sweep(client, store, namespaces, kinds or ALL_KINDS):
                ask(gone if isinstance(gone, ObjectKey) else ObjectKey("AgentPool", *gone))
        except ClusterUnavailableError as error:
            log.warning("sweep failed", error=str(error))


def resource_version(resource: Any) -> str:
    """``apiVersion`` of a resource: objects in a list do not carry it."""
    return str(resource._api_info.resource.api_version)
