"""How does a runtime begin to serve, and how is it brought to an end?"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine, Mapping

from agent_runtime.caching import clear_disk_with_purges, close_disk
from agent_runtime.errors import RuntimeSetupError
from agent_runtime.parts import Parts, clock, unix_time
from agent_runtime.settings import Process
from agent_runtime.telemetry.logs import log
from agentpool_api.runtime_settings import RuntimeSettings

LEAVING_S = 2.0
"""An agent in a pod takes requests after SIGTERM, while it says that it is not ready, until none came for so long.

Kubernetes sends the signal and takes the pod out of the Service at the same time, and the nodes learn it a moment
later, a busy node several seconds: what they send until then would be refused for nothing. A preStop hook with `sleep`
knows nothing of that, nor of the drain's time."""

LONGEST_LEAVING_S = 20.0
"""After this, or a quarter of the drain's time, new requests are refused all the same."""

CLOCK_STEP_S = 1.0
"""By so much the wall clock must go back to count as set back; slewing is slower."""

LAST_WORDS_S = 2.0
"""Part of the drain's time kept for settling and leaving."""

LONGEST_SETTLING_S = 10.0
"""Longest wait for a Redis that is away before the rest of the spend is given up (and logged)."""


class App(Parts):
    """One running runtime."""

    def __init__(self, settings: RuntimeSettings, process: Process, environ: Mapping[str, str]) -> None:
        super().__init__(settings, process, environ)
        self._background: list[asyncio.Task[None]] = []
        self._clock_offset_s = unix_time() - clock()
        self._left_s: float | None = None

    async def start(self) -> None:
        """Begin to serve. Raises RuntimeSetupError when the port is taken."""
        listener = self.listener()
        if self.link is None:
            log(logging.INFO, "no AGENTPOOL_REDIS_URL: cache and accounting stay in this process")
        else:
            self.link.before_return = listener.before_return if listener is not None else None
            await self.pulse.beat()
        await self.server.start()
        self._run(self.pulse.beat_forever(self._tick))
        self._run(self.guard.watch_forever(clock))
        self._run(self.reach.run())
        self._run(self.stats.write_forever())
        if self.settlement is not None:
            self._run(self.settlement.settle_forever())
        if self.cache is not None and self.cache.shared is not None:
            self._run(self.cache.shared.write_forever(unix_time))
            self._run(self.cache.shared.renew_forever())
        if listener is not None:
            self._run(listener.listen_forever())
        if self.cache is not None and self.cache.disk is not None:
            self._run(self.cache.disk.write_forever())
            self._run(clear_disk_with_purges(self.cache.disk, self.cache.purges))
        for problem in self.state.problems:
            log(logging.WARNING, "not ready", reason=problem.reason, field=problem.field, problem=problem.message)
        log(logging.INFO, "serving", host=self.process.host, port=self.server.port, slots=self.process.concurrency)

    def _watch_clock(self) -> None:
        """Let the cache know when the wall clock was set back."""
        offset_s = unix_time() - clock()
        stepped_s = self._clock_offset_s - offset_s
        self._clock_offset_s = offset_s
        if stepped_s > CLOCK_STEP_S and self.cache is not None:
            log(logging.WARNING, "the clock was set back; stored answers are not served", seconds=round(stepped_s, 3))
            now_s = unix_time()
            self._run(self.cache.clock_went_back(now_s + stepped_s, now_s))

    def _tick(self) -> None:
        self.server.tick()
        self._watch_clock()
        if self.cache is not None:
            self.cache.memory.adapt(self.guard.used, self.guard.limit_bytes)
        self.trust.reload()

    def leave(self) -> None:
        """Serve on, but be not ready: the pod leaves, and an agent beside us finishes its work with our help."""
        if self._left_s is None:
            self._left_s = clock()
            self.state.draining = True
            log(logging.INFO, "leaving", unfinished=self.service.active)

    async def drain(self) -> None:
        """Finish what was begun, settle it and leave, within the drain's time."""
        began_s = clock()
        time_s = self._drain_time_s(began_s)
        deadline_s = began_s + time_s
        self.state.draining = True
        await self.pulse.beat()
        work_ends_s = max(deadline_s - LAST_WORDS_S, began_s + time_s / 2)
        log(logging.INFO, "draining", unfinished=self.service.active, seconds=round(time_s, 3))
        if self.process.in_cluster:
            await self._nobody_comes(min(LONGEST_LEAVING_S, time_s / 4))
        self.state.refusing = True
        await self.service.idle(work_ends_s - clock())
        if self.service.active:
            log(logging.WARNING, "requests cut off at the end of the drain", unfinished=self.service.active)
        await self.server.stop()
        await self.answering.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self.paraphrases is not None:
            await self.paraphrases.aclose()
        if self.settlement is not None:
            await self.settlement.drain(min(deadline_s - 0.5, clock() + LONGEST_SETTLING_S), clock)
        if self.cache is not None and self.cache.shared is not None:
            await self.cache.shared.flush(unix_time())
        if self.cache is not None and self.cache.disk is not None:
            await close_disk(self.cache.disk, self.cache.purges)
        if self.tracer is not None:
            await asyncio.wait({asyncio.ensure_future(asyncio.to_thread(self.tracer.stop))}, timeout=LAST_WORDS_S / 2)
        await self.stats.leave()
        await self.pulse.leave()
        await self.upstream.aclose()
        if self.link is not None:
            self.link.close()
        log(logging.INFO, "stopped", seconds=round(clock() - began_s, 3))

    async def _nobody_comes(self, longest_s: float) -> None:
        """Wait until no new request has come for `LEAVING_S`, but no longer than this."""
        began_s = clock()
        while (now_s := clock()) - began_s < longest_s:
            quiet_s = now_s - max(began_s, self.state.last_request_s)
            if quiet_s >= LEAVING_S:
                return
            await asyncio.sleep(min(LEAVING_S - quiet_s, longest_s - (now_s - began_s)))

    def _drain_time_s(self, now_s: float) -> float:
        """What is left of the drain's time; Kubernetes counts it from the moment the pod was told to go."""
        whole_s = self.process.drain_timeout_s
        if self._left_s is None:
            return whole_s
        return max(whole_s - (now_s - self._left_s), min(whole_s, 2 * LAST_WORDS_S))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._background.append(asyncio.get_running_loop().create_task(work))


async def run(settings: RuntimeSettings, process: Process) -> None:
    """Serve until SIGTERM or SIGINT, then drain; SIGUSR1 tells that this is to come. Raises RuntimeSetupError."""
    app = App(settings, process, os.environ)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, app.leave)
    try:
        await app.start()
    except RuntimeSetupError:
        await app.upstream.aclose()
        raise
    await stop.wait()
    await app.drain()
