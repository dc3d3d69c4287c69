"""How long did each of a pool's pods run, as far as is known?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agentpool_api.wire import Heartbeat
from agentpool_operator.decide.charges import PodTime
from agentpool_operator.decide.split import AgentPrices
from agentpool_operator.observe.cluster import PodFacts
from agentpool_operator.observe.runtime_stats import STALE_S


def observe_pod_times(
    pool: str,
    pods: Iterable[PodFacts],
    heartbeats: Mapping[str, Heartbeat],
    charged_ms: Mapping[str, int],
    prices: AgentPrices,
    *,
    now_ms: int,
) -> list[PodTime]:
    """Pods that are there run until now; one that is gone ran until its last heartbeat.

    A heartbeat of a pod nobody has charged yet and the watch does not show may be of one just made: it waits until it
    is stale.
    """
    times = {}
    for pod in pods:
        if pod.started_s is not None and not pod.ended:
            price = prices.spot_nanousd if pod.capacity_type == "spot" else prices.on_demand_nanousd
            times[pod.uid] = PodTime(
                uid=pod.uid,
                name=pod.name,
                price_nanousd_per_h=price,
                begins_ms=int(pod.started_s * 1000),
                ends_ms=now_ms,
                runs=True,
            )
    present = {pod.uid for pod in pods if not pod.ended}
    for uid, heartbeat in heartbeats.items():
        is_stale = now_ms - heartbeat.at_s * 1000 > STALE_S * 1000
        if uid not in present and (uid in charged_ms or is_stale):
            is_spot = heartbeat.pod.startswith(f"{pool}-spot-")
            times[uid] = PodTime(
                uid=uid,
                name=heartbeat.pod,
                price_nanousd_per_h=prices.spot_nanousd if is_spot else prices.on_demand_nanousd,
                begins_ms=int(heartbeat.started_s * 1000),
                ends_ms=int(heartbeat.at_s * 1000),
                runs=False,
            )
    return list(times.values())
