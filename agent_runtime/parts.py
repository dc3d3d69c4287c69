"""What is a runtime made of, and what does each part get? Everything is built here, once; nothing runs yet."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent_runtime.budget.notice import BudgetView
from agent_runtime.budget.pricing import price_endpoints, price_models
from agent_runtime.budget.settlement import Settlement
from agent_runtime.cache.forgetting import Forgetting
from agent_runtime.cache.listening import Listener
from agent_runtime.cache.purges import Purger, Purges
from agent_runtime.caching import longest_life_s, make_cache, make_paraphrases, sheds
from agent_runtime.errors import RuntimeSetupError
from agent_runtime.http.edge import Edge
from agent_runtime.http.reading import request_ids
from agent_runtime.http.server import HttpServer
from agent_runtime.http.service import Service
from agent_runtime.http.tracing import make_tracer
from agent_runtime.models.endpoints import batch_route, make_routes, operations_of
from agent_runtime.models.hedging import Hedging
from agent_runtime.models.pool import Pool
from agent_runtime.models.reach import Reach
from agent_runtime.models.trust import make_trust
from agent_runtime.models.upstream import Upstream
from agent_runtime.pipeline.accounting import Accounts
from agent_runtime.pipeline.answering import Answering, deadline_of, fallback_of, make_response_times
from agent_runtime.pipeline.asking import Asking
from agent_runtime.pipeline.batching import Batching
from agent_runtime.pipeline.conversations import Conversations
from agent_runtime.pipeline.deadlines import Deadlines
from agent_runtime.pipeline.pipeline import Pipeline
from agent_runtime.pipeline.shortening import make_shortening
from agent_runtime.pipeline.sizing import make_sizing, model_names
from agent_runtime.pipeline.slots import Slots
from agent_runtime.pipeline.stored_responses import StoredResponses
from agent_runtime.pod.cgroup import find_cgroup
from agent_runtime.pod.heartbeat import Pulse
from agent_runtime.pod.memory import MemoryGuard, make_guard
from agent_runtime.pod.pool_stats import PoolStats
from agent_runtime.pod.secrets import Secrets
from agent_runtime.pod.state import State
from agent_runtime.redis.link import RedisLink
from agent_runtime.settings import Process
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.usage import Usage
from agentpool_api import keys
from agentpool_api.quantity import duration_s, size_bytes
from agentpool_api.runtime_settings import RuntimeSettings, SemanticEmbedder

if TYPE_CHECKING:
    from agent_runtime.semantic.vectors import VectorSource

unix_time = time.time  # noqa: TID251  (this module is where the clocks are read)
clock = time.monotonic


class Parts:
    """The parts of one runtime, in the order in which they need each other. Raises RuntimeSetupError."""

    def __init__(self, settings: RuntimeSettings, process: Process, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.process = process
        self.instruments = Instruments()
        self.secrets = Secrets(settings, process, environ)
        self.trust = make_trust(settings.connections, settings.models, process)
        self._refuse_problems()
        self.link = RedisLink(process.redis) if process.redis else None
        self.settlement = self._make_settlement()
        self.budget = BudgetView()
        self.response_times = make_response_times(settings.response_time)
        self.cache = make_cache(settings, process, self.link, unix_time, clock)
        self.routes = make_routes(settings.models, process.field_prefix)
        self.pool = Pool(settings.connections, self.trust, environ)
        self.upstream = self._make_upstream()
        self.reach = self._make_reach()
        self.slots = self._make_slots()
        self.accounts = self._make_accounts()
        self.asking = self._make_asking()
        self.request_ids = request_ids(secrets.token_hex(8))
        self.paraphrases = make_paraphrases(
            settings, process, self.cache, self.instruments, environ, unix_time, self._make_embedder
        )
        self.guard = self._make_guard()
        self.pipeline = self._make_pipeline()
        self.answering = self._make_answering()
        self.conversations = self._make_conversations()
        self.stored_responses = StoredResponses(self.conversations, self.routes, self.upstream, self.slots, clock)
        self.purger = self._make_purger()
        self.forgetting = self._make_forgetting()
        self.state = self._make_state()
        self.tracer = make_tracer(settings.telemetry.tracing, process, self.instruments)
        self.stats = PoolStats(self.link, process, self.instruments, unix_time)
        self.service = self._make_service()
        self.server = HttpServer(self.service, process.host, process.port)
        self.pulse = Pulse(process, self.state, self.secrets, self.link, self.budget, clock)

    def _refuse_problems(self) -> None:
        """Outside a cluster nobody would see what is missing as a condition: there it stops the start."""
        problems = (*self.secrets.problems, *self.trust.problems)
        if problems and not self.process.in_cluster:
            raise RuntimeSetupError(f"{problems[0].field}: {problems[0].message}")

    def _make_settlement(self) -> Settlement | None:
        if self.link is None:
            return None
        return Settlement(self.link, self.process.namespace, self.process.pool, self.instruments)

    def _make_guard(self) -> MemoryGuard:
        max_memory = self.settings.limits.max_memory
        own_bytes = size_bytes(max_memory) if max_memory else None
        guard = make_guard(own_bytes, sheds(self.cache, self.paraphrases), find_cgroup())
        if self.cache is not None:
            self.cache.has_room = guard.keeps
        return guard

    def _make_upstream(self) -> Upstream:
        return Upstream(
            self.routes,
            self.settings.connections,
            self.pool,
            self.secrets.endpoint_key,
            self.instruments,
            chance=random.random,  # noqa: TID251
            unix_time=unix_time,
        )

    def _make_reach(self) -> Reach:
        return Reach(self.routes, self.pool, warm=self.settings.connections.warm, idle_s=lambda: self.state.idle_s)

    def _make_asking(self) -> Asking:
        percent = self.settings.connections.hedge_percent
        hedging = Hedging(self.upstream, percent, self.instruments) if percent else None
        return Asking(self.upstream, hedging, self.accounts, self.instruments)

    def _make_batching(self) -> Batching | None:
        settings = self.settings
        if settings.batching.mode == "Off":
            return None
        discounts = {model.name: model.batch.discount_percent for model in settings.models if model.batch is not None}
        return Batching(
            settings.batching,
            {route.model: batch_route(route) for route in self.routes if route.model in discounts},
            discounts,
            self.upstream,
            self.slots,
            self.budget,
            self.instruments,
            endpoint_key=self.secrets.endpoint_key,
            clock=clock,
        )

    def _make_slots(self) -> Slots:
        limits = self.settings.limits
        return Slots(self.process.concurrency, limits.max_queued, duration_s(limits.queue_timeout), clock)

    def _make_accounts(self) -> Accounts:
        prices = price_models(self.settings.models, datetime.fromtimestamp(unix_time(), UTC))
        return Accounts(
            prices,
            price_endpoints(self.settings.models, prices),
            self.settlement,
            self.instruments,
            pool=self.process.pool,
            pod=self.process.pod,
            unix_time=unix_time,
        )

    def _make_embedder(
        self, wanted: SemanticEmbedder, cache_bytes: int, on_new_space: Callable[[], None]
    ) -> VectorSource:
        from agent_runtime.pipeline.embedding import EndpointEmbedder  # numpy is loaded only where it is wanted

        return EndpointEmbedder(
            next(route for route in self.routes if (route.kind, route.model) == ("embeddings", wanted.model)),
            self.asking,
            self.accounts,
            self.instruments,
            patience_s=duration_s(wanted.timeout),
            cache_bytes=cache_bytes,
            request_id=self.request_ids,
            clock=clock,
            on_new_space=on_new_space,
        )

    def _make_pipeline(self) -> Pipeline:
        cost_of = self.accounts.cost_of
        return Pipeline(
            routes={(one.kind, one.model): one for route in self.routes for one in operations_of(route)},
            asking=self.asking,
            batching=self._make_batching(),
            cache=self.cache,
            slots=self.slots,
            accounts=self.accounts,
            instruments=self.instruments,
            clock=clock,
            refusals_s=duration_s(self.settings.cache.refusals),
            max_temperature=self.settings.cache.max_temperature_percent / 100,
            unix_time=unix_time,
            paraphrases=self.paraphrases,
            sizing=make_sizing(self.settings, cost_of, self.instruments, self.budget),
            shortening=make_shortening(
                self.settings.compression, lambda model, tokens: cost_of(model, Usage(tokens, 0, 0)), self.instruments
            ),
        )

    def _make_answering(self) -> Answering:
        settings = self.settings.response_time
        deadlines = Deadlines(self.pipeline, fallback_of(settings), self.instruments, clock=clock, unix_time=unix_time)
        return Answering(
            self.pipeline,
            deadlines,
            self.budget,
            deadline_s=deadline_of(settings),
            keep_stale_s=duration_s(self.settings.cache.keep_stale),
        )

    def _make_conversations(self) -> Conversations:
        place = self.process
        return Conversations(self.answering.answer, self.link, namespace=place.namespace, pool=place.pool)

    def _make_purger(self) -> Purger:
        cache = self.settings.cache
        purger = Purger(
            self.cache.purges if self.cache is not None else Purges(),
            self.link,
            keys.purges(self.process.namespace, self.process.pool),
            life_s=longest_life_s(cache),
            unix_time=unix_time,
        )
        if self.cache is not None:
            self.cache.tell_others = purger.purge_answers
        return purger

    def _make_edge(self) -> Edge:
        cache = self.settings.cache
        return Edge(
            self.cache,
            public=cache.edge == "Public",
            max_age_s=duration_s(cache.edge_max_age),
            instruments=self.instruments,
            unix_time=unix_time,
        )

    def _make_forgetting(self) -> Forgetting:
        key = keys.forgets(self.process.namespace, self.process.pool)
        return Forgetting(self.link, key, self.pipeline.forget_near, clock)

    def listener(self) -> Listener | None:
        """What hears the announcements of the pool's other agents; None when there is nothing to hear."""
        if self.link is None or self.cache is None:
            return None
        heard = {self.purger.key: self.purger.heard, self.forgetting.key: self.forgetting.heard}
        if self.cache.broadcast is not None:
            heard[self.cache.broadcast.key] = self.cache.broadcast.heard
        return Listener(self.link, heard)

    def _make_state(self) -> State:
        return State(
            guard=self.guard,
            process=self.process,
            secrets=self.secrets,
            reach=self.reach,
            trust=self.trust,
            slots=self.slots,
            pipeline=self.pipeline,
            memory=self.cache.memory if self.cache is not None else None,
            disk=self.cache.disk if self.cache is not None else None,
            duplicates=self.cache.duplicates if self.cache is not None else None,
            paraphrases=self.paraphrases,
            upstream=self.upstream,
            link=self.link,
            settlement=self.settlement,
            budget=self.budget,
            response_times=self.response_times,
            instruments=self.instruments,
            clock=clock,
            unix_time=unix_time,
        )

    def _make_service(self) -> Service:
        return Service(
            pipeline=self.pipeline,
            answering=self.answering,
            conversations=self.conversations,
            stored_responses=self.stored_responses,
            response_times=self.response_times,
            purger=self.purger,
            forgetting=self.forgetting,
            edge=self._make_edge(),
            secrets=self.secrets,
            state=self.state,
            stats=self.stats,
            instruments=self.instruments,
            models=model_names(self.settings),
            max_body_bytes=size_bytes(self.settings.limits.max_body_size),
            request_ids=self.request_ids,
            clock=clock,
            started_s=unix_time(),
            tracer=self.tracer,
        )
