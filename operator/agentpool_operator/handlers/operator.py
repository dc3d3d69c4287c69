"""How is kopf run? As a pure watcher: standalone, without finalizers, annotations, peering or posted logs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kopf
from lightkube.config.kubeconfig import SingleConfig

from agentpool_operator.errors import WatchLostError
from agentpool_operator.handlers.canary import register_canary
from agentpool_operator.handlers.watches import Ask, configure_watches, register_watches
from agentpool_operator.observe.store import Store
from agentpool_operator.settings import Settings

SERVER_TIMEOUT_S = 240
"""The API server ends a watch after this; it is taken up where it ended."""

ERROR_BACKOFFS_S = (1, 1, 2, 3, *(5,) * 10)
"""Pauses between tries of a list or watch that failed: never long, for the server may be back at any moment. When a
minute of them did not help, the watch ends, kopf with it, and the process for another to begin anew."""

SIGNALS_SET_S = 0.1
"""kopf sets signal handlers in the same moment in which it begins its start; after this they are in place."""


class NothingCompared(kopf.DiffBaseStorage):
    """No essence of objects: only handlers of changes read it, there are none, and kopf would copy every object of
    every event for them."""

    def build(self, **_: Any) -> Any:
        """Nothing to compare."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Nothing was stored."""
        return None

    def store(self, **_: Any) -> None:
        """Nothing is stored."""


def watch_settings(silence_s: float) -> kopf.OperatorSettings:
    """kopf's settings. A watch that shows nothing for ``silence_s``, not even a bookmark, is a connection that died."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NothingCompared()
    settings.scanning.disabled = True  # no rights to CRDs and namespaces are needed
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.client_timeout = SERVER_TIMEOUT_S + 30
    settings.watching.inactivity_timeout = silence_s
    settings.watching.connect_timeout = 5
    settings.watching.chunk_size = 100
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.enforce_retry_after = True
    settings.networking.error_backoffs = ERROR_BACKOFFS_S
    settings.queueing.exit_timeout = 0.5
    settings.queueing.idle_timeout = 0.1
    settings.process.ultimate_exiting_timeout = 30
    return settings


async def run_watches(
    settings: Settings,
    config: SingleConfig,
    store: Store,
    ask: Ask,
    *,
    listed: Callable[[str], None],
    seen: Callable[[], None],
    started: Callable[[], None],
    stop: asyncio.Event,
) -> None:
    """Watch until stopped. ``started`` is called once kopf runs, ``seen`` whenever our Lease comes back, ``listed``
    with a kind whose watch began anew.

    Raises WatchLostError when one of the watches ended by an error no retry helps with.
    """
    registry = kopf.OperatorRegistry()
    kopf_settings = watch_settings(settings.watch_silence_s)
    configure_watches(kopf_settings)
    register_watches(registry, store, ask, listed)
    register_canary(
        registry,
        kopf_settings,
        lease=(settings.lease_namespace, settings.lease_name),
        identity=settings.identity,
        seen=seen,
    )

    async def login(**_: Any) -> kopf.ConnectionInfo | None:
        return connection_info(config, kopf_settings)

    async def on_startup(**_: Any) -> None:
        await asyncio.sleep(SIGNALS_SET_S)
        started()

    kopf.on.login(registry=registry)(login)
    kopf.on.startup(registry=registry)(on_startup)
    # Otherwise kopf makes a name of the user's, and in a container the user has none.
    identity: Any = settings.identity
    try:
        await kopf.operator(
            registry=registry,
            settings=kopf_settings,
            standalone=True,
            identity=identity,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            stop_flag=stop,
        )
    except Exception as error:
        raise WatchLostError(f"the watches ended: {error or type(error).__name__}") from error


def connection_info(config: SingleConfig, settings: kopf.OperatorSettings) -> kopf.ConnectionInfo | None:
    """The same cluster and account the other client uses. In a pod the token is read anew each time: it rotates."""
    token_file = config.user.token_file if config.user else None
    if not token_file:
        return kopf.login_with_kubeconfig(settings=settings)
    return kopf.ConnectionInfo(
        server=config.cluster.server,
        ca_path=config.cluster.certificate_auth,
        token=Path(token_file).read_text(encoding="utf-8").strip(),
        default_namespace=config.namespace,
    )
