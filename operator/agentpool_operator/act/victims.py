"""Which agents go when a pool shrinks? The idle ones.

Kubernetes removes pods of the lowest deletion cost first (KEP-2255). The cost is written once, just before a Deployment
shrinks, and is the number of requests the agent holds: idle agents need no stamp, for zero is the default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from agentpool_api.labels import POD_DELETION_COST_ANNOTATION
from agentpool_operator.act.api import Api
from agentpool_operator.kinds import POD

HEARD_S = 0.5
"""The ReplicaSet controller learns of pods by a watch of its own: told to shrink at once, it would choose by what it
knew before."""


def costs_to_stamp(
    pods: Iterable[tuple[str, str | None]], in_flight: Mapping[str, int], *, shrinks_to: int
) -> dict[str, int]:
    """Pods whose cost must be written before their Deployment shrinks; ``pods`` pairs a name with its present cost.

    Nothing when the Deployment does not shrink, or all its pods go.
    """
    pods = list(pods)
    if not 0 < shrinks_to < len(pods):
        return {}
    wanted = {name: in_flight.get(name, 0) for name, _ in pods}
    return {name: wanted[name] for name, cost in pods if str(wanted[name]) != (cost or "0")}


async def stamp_victims(api: Api, namespace: str, costs: Sequence[tuple[str, int]]) -> None:
    """Write deletion costs, and give the controller that chooses the time to hear of them."""
    for name, cost in costs:
        patch = {"metadata": {"annotations": {POD_DELETION_COST_ANNOTATION: str(cost)}}}
        await api.patch(POD, namespace, name, patch)
    if costs:
        await asyncio.sleep(HEARD_S)
