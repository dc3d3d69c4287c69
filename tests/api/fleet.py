"""Reports in the place of thousands of pretended agents, as the runtime writes them."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import suppress

import redis

from agentpool_api import keys
from agentpool_api.wire import Heartbeat
from tests.api.support import CORE, Cluster, Redis, now_s

LIST_EVERY_BEATS = 5
SERVICE_S = 0.5


class Fleet:
    """Every pod of a namespace reports once a second and works on a steady stream of requests."""

    def __init__(self, cluster: Cluster, server: Redis, namespace: str, *, arrivals_per_s: int) -> None:
        self._cluster, self._redis, self._namespace = cluster, server, namespace
        self._arrivals_per_s = arrivals_per_s
        self._pods: dict[str, list[tuple[str, str]]] = {}
        self._stop = threading.Event()
        self._began_s = now_s()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def pods(self) -> int:
        return sum(map(len, self._pods.values()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        beats = 0
        while not self._stop.wait(1.0):
            with suppress(redis.RedisError, OSError):
                if beats % LIST_EVERY_BEATS == 0:
                    self._list()
                self.beat()
            beats += 1

    def _list(self) -> None:
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for pod in self._cluster.items(f"{CORE.format(self._namespace)}/pods?resourceVersion=0"):
            metadata = pod["metadata"]
            found[metadata["labels"]["agentpool.dev/pool"]].append((metadata["name"], metadata["uid"]))
        self._pods = found

    def beat(self) -> None:
        """One report of every agent, in one round trip."""
        at_s = now_s()
        served = int((at_s - self._began_s) * self._arrivals_per_s)
        report = Heartbeat(
            pod="-",
            uid="-",
            at_s=at_s,
            started_s=self._began_s,
            capacity=4,
            in_flight=1,
            queued=0,
            arrivals_total=served,
            completed_total=served,
            service_seconds_total=served * SERVICE_S,
            wait_seconds_total=0.0,
            last_activity_s=at_s,
        )
        pipe = self._redis.client.pipeline(transaction=False)
        for pool, pods in self._pods.items():
            written = {pod: report.model_copy(update={"pod": pod, "uid": uid}).model_dump_json() for pod, uid in pods}
            pipe.hset(keys.heartbeats(self._namespace, pool), mapping=written)
        pipe.execute()
