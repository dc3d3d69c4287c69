"""How is the operator put together, and when does it end?

Health is served from the start. The Lease is waited for; only while it is held the cluster is read, watched and
written. The first thing that ends ends all: SIGTERM cleanly, anything else with an error, for a process that lost a
part of itself must be replaced.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog
import uvloop
from lightkube import AsyncClient, KubeConfig
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError

from agentpool_operator import metrics
from agentpool_operator.act.api import Api
from agentpool_operator.election import Election
from agentpool_operator.errors import OperatorError, SettingsError
from agentpool_operator.handlers.operator import run_watches
from agentpool_operator.health import Health, serve_health
from agentpool_operator.logs import configure_logs
from agentpool_operator.observe.cluster import ObjectKey
from agentpool_operator.observe.readings import Readings
from agentpool_operator.observe.store import Store
from agentpool_operator.observe.sweep import Relisted, sweep, sweep_for_ever
from agentpool_operator.reconcile.context import Context
from agentpool_operator.reconcile.one import reconcile
from agentpool_operator.reconcile.pulse import pulse
from agentpool_operator.redis_link import RedisLink
from agentpool_operator.settings import Settings, read_settings
from agentpool_operator.work_queue import WorkQueue

log = structlog.get_logger(__name__)

FILL_RETRY_S = 2.0
STOP_S = 3.0
"""Time the parts get to end; longer than a write takes."""

EXIT_OK, EXIT_FAILED, EXIT_SETTINGS = 0, 1, 2


def run(environment: dict[str, str]) -> int:
    """Run until told to stop; returns the exit code."""
    try:
        settings = read_settings(environment)
        config = KubeConfig.from_env().get()
        if config is None:
            raise SettingsError("KUBECONFIG names no current context: set one with kubectl config use-context")
    except (SettingsError, ConfigError) as error:
        print(f"agentpool-operator: {error}", file=sys.stderr)  # noqa: T201 - logs are not configured yet
        return EXIT_SETTINGS
    configure_logs(settings.log_format, settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(operate(settings, config))


async def operate(settings: Settings, config: SingleConfig) -> int:
    """The life of one process: stand by, lead, end."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    client = AsyncClient(config=config)
    election = Election(
        client,
        namespace=settings.lease_namespace,
        name=settings.lease_name,
        identity=settings.identity,
        end_after=lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds),
    )
    health = Health(clock=time.monotonic, standby_ticked_s=lambda: election.ticked_at_s)
    server, port = await serve_health(health, settings.http_port)
    log.info("started", identity=settings.identity, port=port, namespaces=settings.namespaces or "all")
    try:
        if await ends_first(stop, {"election": election.acquire(time.monotonic)}):
            health.start_leading()
            return await lead(settings, config, client, election, health, stop)
        return EXIT_OK
    except OperatorError as error:
        log.error("stopped", error=str(error))
        return EXIT_FAILED
    except Exception:
        log.exception("stopped by a bug")
        return EXIT_FAILED
    finally:
        await election.release()
        await server.cleanup()
        await client.aclose()


async def lead(
    settings: Settings,
    config: SingleConfig,
    client: AsyncClient,
    election: Election,
    health: Health,
    stop: asyncio.Event,
) -> int:
    """Serve pools until stopped. Raises what ended a part."""
    link = RedisLink(settings.redis, time.monotonic)
    context = Context(
        settings=settings,
        store=Store(),
        api=Api(client, lambda: election.left_s(time.monotonic())),
        readings=Readings(),
        link=link,
        clock=time.time,  # noqa: TID251 - the clock is read here and nowhere below
    )
    queue: WorkQueue[ObjectKey] = WorkQueue(lambda key: reconcile(context, key), random.random)  # noqa: TID251
    watches_stop, relisted = asyncio.Event(), Relisted()
    holding = asyncio.create_task(election.hold(time.monotonic), name="lease")
    watching: asyncio.Task[None] | None = None
    try:
        if not await ends_first(stop, {"first list": fill_store(client, context.store, settings)}, holding):
            return EXIT_OK
        for key in await pulse(context):  # before any pass, or every pool would say that Redis is away
            queue.add(key)
        health.caches_filled = True
        writers = {
            "pulse": pulse_for_ever(context, queue),
            "sweep": sweep_for_ever(
                client, context.store, settings.namespaces, queue.add, relisted, lambda: queue.news > 0
            ),
            **{f"worker {number}": queue.run_worker() for number in range(settings.workers)},
        }
        watching = asyncio.create_task(
            run_watches(
                settings,
                config,
                context.store,
                queue.add,
                listed=relisted.add,
                seen=health.see_canary,
                started=lambda: stop_on_signals(stop),
                stop=watches_stop,
            ),
            name="watches",
        )
        if await ends_first(stop, writers, holding, watching):
            raise OperatorError("a part of the operator ended by itself")
        return EXIT_OK
    finally:
        metrics.LEADER.set(0)
        holding.cancel()
        # The Lease goes first: whoever takes over need not wait until our watches have been taken down.
        await election.release()
        watches_stop.set()
        await settle({holding} | ({watching} if watching else set()))
        await link.close()


async def fill_store(client: AsyncClient, store: Store, settings: Settings) -> None:
    """Read the whole cluster once. Waits until it can be read: the CRDs or rights may come a moment later."""
    while True:
        try:
            await sweep(client, store, settings.namespaces)
        except OperatorError as error:
            log.warning("cluster cannot be read yet", error=str(error))
            await asyncio.sleep(FILL_RETRY_S)
        else:
            pools, budgets = store.keys("AgentPool"), store.keys("CostBudget")
            log.info("cluster read", pools=len(pools), budgets=len(budgets))
            return


async def pulse_for_ever(context: Context, queue: WorkQueue[ObjectKey]) -> None:
    """Read Redis and have everything looked at, once per period."""
    loop = asyncio.get_running_loop()
    next_s = loop.time()
    while True:
        next_s = max(next_s + context.settings.period_s, loop.time())
        await asyncio.sleep(next_s - loop.time())
        for key in await pulse(context):
            queue.add_routinely(key)
        metrics.QUEUE_DEPTH.set(len(queue))


async def ends_first(
    stop: asyncio.Event, parts: Mapping[str, Coroutine[Any, Any, None]], *others: asyncio.Task[None]
) -> bool:
    """Run the parts until one of them, or of the other tasks, ends (True) or we are told to stop (False).

    The parts are cancelled and gone on return. Raises what a part or another task raised.
    """
    stopping = asyncio.create_task(stop.wait(), name="stop")
    tasks: set[asyncio.Task[Any]] = {asyncio.create_task(part, name=name) for name, part in parts.items()}
    try:
        done, _ = await asyncio.wait({stopping, *tasks, *others}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            if task.exception() is not None:
                log.error("part ended", part=task.get_name())
            task.result()
        return stopping not in done
    finally:
        await settle(tasks | {stopping})


async def settle(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait a bounded time until they are gone."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=STOP_S)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set the event. kopf sets handlers of its own when it starts; ours are set again then."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
