"""How is the runtime put together, run, and brought to an end?"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets as chance_source
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from itertools import count

from agent_runtime.accounting import Accounts
from agent_runtime.budget.pricing import price_models
from agent_runtime.budget.settlement import Settlement
from agent_runtime.cache.purges import Purger, Purges
from agent_runtime.caching import clear_disk_with_purges, close_disk, make_cache, make_paraphrases
from agent_runtime.errors import RuntimeSetupError
from agent_runtime.heartbeat import Pulse
from agent_runtime.http.server import HttpServer
from agent_runtime.http.service import Service
from agent_runtime.memory import find_cgroup, make_guard
from agent_runtime.models.endpoints import make_endpoint
from agent_runtime.models.reach import Reach
from agent_runtime.models.upstream import Upstream
from agent_runtime.pipeline import Pipeline
from agent_runtime.redis_link import RedisLink
from agent_runtime.secrets import Secrets
from agent_runtime.settings import Process
from agent_runtime.shortening import make_shortening
from agent_runtime.sizing import AUTO, make_sizing
from agent_runtime.slots import Slots
from agent_runtime.state import State
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.telemetry.logs import log
from agent_runtime.usage import Usage
from agentpool_api import keys
from agentpool_api.quantity import duration_s, size_bytes
from agentpool_api.runtime_settings import RuntimeSettings

LEAVING_S = 2.0
"""How long an agent in a pod still takes requests after SIGTERM, while it says that it is not ready.

Kubernetes sends the signal and takes the pod out of the Service at the same time, and the nodes learn it a moment
later: what they send until then would be refused for nothing. A preStop hook with `sleep` would do the same, but it is
on by default only from Kubernetes 1.30 and knows nothing of the drain's time; the chart promises 1.29."""

LAST_WORDS_S = 2.0
"""Part of the drain's time kept for settling and leaving."""

LONGEST_SETTLING_S = 10.0
"""Longest wait for a Redis that is away before the rest of the spend is given up (and logged)."""

unix_time = time.time  # noqa: TID251  (this module is where the clocks are read)
clock = time.monotonic


class App:
    """One running runtime."""

    def __init__(self, settings: RuntimeSettings, process: Process, environ: Mapping[str, str]) -> None:
        self.process = process
        self.instruments = instruments = Instruments()
        self.secrets = Secrets(settings, process, environ)
        if not process.in_cluster and self.secrets.problems:
            first = self.secrets.problems[0]
            raise RuntimeSetupError(f"{first.field}: {first.message}")
        self.link = RedisLink(process.redis) if process.redis else None
        self.settlement = (
            Settlement(self.link, process.namespace, process.pool, instruments) if self.link is not None else None
        )
        endpoints = [make_endpoint(index, model) for index, model in enumerate(settings.models)]
        self.cache = make_cache(settings, process, self.link, unix_time)
        self.paraphrases = make_paraphrases(settings, process, self.cache, instruments, environ, unix_time)
        self.upstream = Upstream(
            settings.connections,
            self.secrets.endpoint_key,
            instruments,
            field_prefix=process.field_prefix,
            chance=random.random,  # noqa: TID251
            unix_time=unix_time,
        )
        self.reach = Reach(
            endpoints, field_prefix=process.field_prefix, timeout_s=duration_s(settings.connections.connect_timeout)
        )
        slots = Slots(process.concurrency, settings.limits.max_queued, duration_s(settings.limits.queue_timeout), clock)
        accounts = Accounts(
            price_models(settings.models, datetime.fromtimestamp(unix_time(), UTC)),
            self.settlement,
            instruments,
            pool=process.pool,
            pod=process.pod,
            unix_time=unix_time,
        )
        pipeline = Pipeline(
            endpoints={endpoint.model: endpoint for endpoint in endpoints},
            upstream=self.upstream,
            cache=self.cache,
            slots=slots,
            accounts=accounts,
            instruments=instruments,
            clock=clock,
            unix_time=unix_time,
            paraphrases=self.paraphrases,
            sizing=make_sizing(settings, accounts.cost_of, instruments),
            shortening=make_shortening(
                settings.compression, lambda model, tokens: accounts.cost_of(model, Usage(tokens, 0, 0)), instruments
            ),
        )
        memory = self.cache.memory if self.cache is not None else None
        max_memory = settings.limits.max_memory
        self.guard = make_guard(size_bytes(max_memory) if max_memory else None, memory, find_cgroup())
        self.state = State(
            guard=self.guard,
            process=process,
            secrets=self.secrets,
            reach=self.reach,
            slots=slots,
            pipeline=pipeline,
            memory=memory,
            disk=self.cache.disk if self.cache is not None else None,
            paraphrases=self.paraphrases,
            upstream=self.upstream,
            link=self.link,
            settlement=self.settlement,
            instruments=instruments,
            unix_time=unix_time,
        )
        self.purger = Purger(
            self.cache.purges if self.cache is not None else Purges(),
            self.link,
            keys.purges(process.namespace, process.pool),
            life_s=duration_s(settings.cache.ttl) + duration_s(settings.cache.keep_stale),
            unix_time=unix_time,
        )
        self.pipeline = pipeline
        self.service = Service(
            pipeline=pipeline,
            purger=self.purger,
            secrets=self.secrets,
            state=self.state,
            instruments=instruments,
            models=_model_names(settings),
            max_body_bytes=size_bytes(settings.limits.max_body_size),
            request_ids=request_ids(),
            clock=clock,
            started_s=unix_time(),
        )
        self.server = HttpServer(self.service, process.host, process.port)
        self.pulse = Pulse(process, self.state, self.secrets, self.link)
        self._background: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to serve. Raises RuntimeSetupError when the port is taken."""
        if self.link is None:
            log(logging.INFO, "no AGENTPOOL_REDIS_URL: cache and accounting stay in this process")
        else:
            await self.pulse.beat()
        await self.server.start()
        self._run(self.pulse.beat_forever(self._tick))
        self._run(self.reach.try_all())
        if self.settlement is not None:
            self._run(self.settlement.settle_forever())
        if self.cache is not None and self.cache.shared is not None:
            self._run(self.cache.shared.write_forever(unix_time))
            self._run(self.cache.shared.renew_forever())
        if self.cache is not None and self.link is not None:
            self._run(self.purger.follow_forever())
        if self.cache is not None and self.cache.disk is not None:
            self._run(self.cache.disk.write_forever())
            self._run(clear_disk_with_purges(self.cache.disk, self.cache.purges))
        for problem in self.state.problems:
            log(logging.WARNING, "not ready", reason=problem.reason, field=problem.field, problem=problem.message)
        log(logging.INFO, "serving", host=self.process.host, port=self.server.port, slots=self.process.concurrency)

    def _tick(self) -> None:
        self.server.tick()
        self.guard.check()

    async def drain(self) -> None:
        """Finish what was begun, settle it and leave, within the drain's time."""
        began_s = clock()
        deadline_s = began_s + self.process.drain_timeout_s
        self.state.draining = True
        await self.pulse.beat()
        work_ends_s = max(deadline_s - LAST_WORDS_S, began_s + self.process.drain_timeout_s / 2)
        log(logging.INFO, "draining", unfinished=self.service.active, seconds=self.process.drain_timeout_s)
        if self.process.in_cluster:
            await asyncio.sleep(min(LEAVING_S, self.process.drain_timeout_s / 4))
        self.state.refusing = True
        await self.service.idle(work_ends_s - clock())
        if self.service.active:
            log(logging.WARNING, "requests cut off at the end of the drain", unfinished=self.service.active)
        await self.server.stop()
        await self.pipeline.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self.settlement is not None:
            await self.settlement.drain(min(deadline_s - 0.5, clock() + LONGEST_SETTLING_S), clock)
        if self.paraphrases is not None:
            await self.paraphrases.aclose()
        if self.cache is not None and self.cache.shared is not None:
            await self.cache.shared.flush(unix_time())
        if self.cache is not None and self.cache.disk is not None:
            await close_disk(self.cache.disk, self.cache.purges)
        await self.pulse.leave()
        await self.upstream.aclose()
        if self.link is not None:
            self.link.close()
        log(logging.INFO, "stopped", seconds=round(clock() - began_s, 3))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._background.append(asyncio.get_running_loop().create_task(work))


def _model_names(settings: RuntimeSettings) -> list[str]:
    """What a request may ask for."""
    names = [model.name for model in settings.models]
    return names if settings.right_sizing.mode == "Off" or AUTO in names else [*names, AUTO]


def request_ids() -> Callable[[], str]:
    """Ids that never repeat: chance for the process, a count for the request.

    They are the runtime's own because the ledger counts each once: with a caller's ids a repeated one would be free.
    """
    prefix, numbers = f"req-{chance_source.token_hex(8)}-", count()
    return lambda: f"{prefix}{next(numbers):x}"


async def run(settings: RuntimeSettings, process: Process) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises RuntimeSetupError."""
    app = App(settings, process, os.environ)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await app.start()
    except RuntimeSetupError:
        await app.upstream.aclose()
        raise
    await stop.wait()
    await app.drain()
