"""What happens to every task of a trace while a rule sizes the pool?

Discrete events: tasks come and end in continuous time; agents become ready, are looked at and resized on whole seconds.
One queue, first come first served, feeds the free slots of all ready agents, the longest free first. An agent is paid
from when it is asked for until it is gone, also while it starts and drains. A rule sees what an operator would see,
never the future.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from agentpool_operator.decide.load import PoolLoad
from agentpool_operator.plan.outcome import Outcome, PoolTerms
from agentpool_operator.plan.tasks import Tasks

SIZED_FOR_S = 300
SIZED_AT = 0.7
"""A pool starts sized for the first five minutes at this utilization, so that no rule is judged on a cold start."""
UTILIZATION_S = 15
ARRIVALS_SEEN_S = 10
_MEASURED_TASKS = 20
"""Ended tasks after which the measured mean service time replaces the trace's."""


class Rule(Protocol):
    """What sizes the pool."""

    @property
    def name(self) -> str:
        """Name in the table."""
        ...

    @property
    def period_s(self) -> int:
        """Seconds between two looks at the pool."""
        ...

    @property
    def idle_first(self) -> bool:
        """Whether it picks idle agents to leave; otherwise the newest go, as a Deployment's do."""
        ...

    def desired(self, load: PoolLoad, *, now_s: float) -> int:
        """Agents to have from now on."""
        ...


@dataclass(slots=True, eq=False)
class _Agent:
    ready_at_s: float
    tasks: set[int] = field(default_factory=set)
    leaves_by_s: float | None = None


def replay(tasks: Tasks, rule: Rule, terms: PoolTerms, progress: Callable[[float], None] | None = None) -> Outcome:
    """The outcome of a trace under a rule. `progress` hears the share done, in [0, 1], about every per cent."""
    run = _Replay(tasks, rule, terms)
    step = max(tasks.duration_s // 100, 1)
    for second in range(tasks.duration_s):
        run.one_second(second)
        if progress is not None and (second + 1) % step == 0:
            progress((second + 1) / tasks.duration_s)
    return run.outcome()


class _Replay:
    """The pool at one moment of a replay."""

    def __init__(self, tasks: Tasks, rule: Rule, terms: PoolTerms) -> None:
        self._tasks, self._rule, self._terms = tasks, rule, terms
        self._arrival: list[float] = [*tasks.arrival_s.tolist(), math.inf]
        self._service: list[float] = tasks.service_s.tolist()
        self._arrived_by_s: list[int] = tasks.arrivals_per_s().tolist()
        self._next = 0
        self._wait = np.full(len(self._service), math.nan)
        self._queue: deque[int] = deque()
        self._ends: list[tuple[float, int, _Agent]] = []
        self._cut: set[int] = set()
        self._ended = 0
        self._service_total_s = 0.0
        size = _first_size(tasks, terms)
        self._agents: dict[_Agent, None] = {_Agent(0.0): None for _ in range(size)}
        self._starting: deque[_Agent] = deque()
        self._leaving: set[_Agent] = set()
        self._free = deque(agent for _ in range(terms.concurrency) for agent in self._agents)
        self._ready = size
        self._busy = self._busy_leaving = 0
        self._busy_slots: deque[int] = deque(maxlen=UTILIZATION_S)
        self._slots: deque[int] = deque(maxlen=UTILIZATION_S)
        self._held_s: dict[int, float] = defaultdict(float)
        self._held_since_s = 0.0
        self._scale_events = 0
        self._agents_by_s, self._waiting_by_s = array("l"), array("l")

    def one_second(self, second: int) -> None:
        """Everything that happens from this second on to the next, and the rule's look at its end."""
        end_s = second + 1.0
        self._serve_until(end_s)
        self._cut_overdue(end_s)
        self._become_ready(end_s)
        self._busy_slots.append(self._busy - self._busy_leaving)
        self._slots.append(self._ready * self._terms.concurrency)
        if (second + 1) % self._rule.period_s == 0:
            self._resize(second + 1)
        self._agents_by_s.append(len(self._agents))
        self._waiting_by_s.append(len(self._queue))

    def _become_ready(self, now_s: float) -> None:
        while self._starting and self._starting[0].ready_at_s <= now_s:
            agent = self._starting.popleft()
            self._ready += 1
            self._free.extend([agent] * self._terms.concurrency)
        self._assign(now_s)

    def _serve_until(self, end_s: float) -> None:
        while True:
            arrives_s = self._arrival[self._next]
            ends_s = self._ends[0][0] if self._ends else math.inf
            if min(arrives_s, ends_s) >= end_s:
                return
            if arrives_s <= ends_s:
                self._queue.append(self._next)
                self._next += 1
                self._assign(arrives_s)
            else:
                self._end(*heapq.heappop(self._ends))

    def _assign(self, now_s: float) -> None:
        while self._queue and self._free:
            agent = self._free.popleft()
            if agent.leaves_by_s is not None:
                continue
            task = self._queue.popleft()
            self._wait[task] = now_s - self._arrival[task]
            agent.tasks.add(task)
            self._busy += 1
            heapq.heappush(self._ends, (now_s + self._service[task], task, agent))

    def _end(self, now_s: float, task: int, agent: _Agent) -> None:
        if task in self._cut:
            return
        agent.tasks.remove(task)
        self._busy -= 1
        self._ended += 1
        self._service_total_s += self._service[task]
        if agent.leaves_by_s is None:
            self._free.append(agent)
            self._assign(now_s)
            return
        self._busy_leaving -= 1
        if not agent.tasks:
            self._leave(agent, now_s)

    def _leave(self, agent: _Agent, now_s: float) -> None:
        self._account(now_s)
        del self._agents[agent]
        self._leaving.discard(agent)

    def _account(self, now_s: float) -> None:
        """Book the time since the number of agents last changed."""
        if now_s > self._held_since_s:
            self._held_s[len(self._agents)] += now_s - self._held_since_s
            self._held_since_s = now_s

    def _cut_overdue(self, now_s: float) -> None:
        for agent in [a for a in self._leaving if a.leaves_by_s is not None and a.leaves_by_s <= now_s]:
            self._cut |= agent.tasks
            self._busy -= len(agent.tasks)
            self._busy_leaving -= len(agent.tasks)
            self._leave(agent, now_s)

    def _resize(self, now: int) -> None:
        present = len(self._agents) - len(self._leaving)
        desired = max(self._rule.desired(self._load(now, present), now_s=self._tasks.starts_at_s + now), 0)
        if desired == present:
            return
        self._scale_events += 1
        self._account(float(now))
        for _ in range(desired - present):
            agent = _Agent(now + self._terms.startup_s)
            self._agents[agent] = None
            self._starting.append(agent)
        for agent in self._first_to_leave(present - desired):
            self._dismiss(agent, float(now))

    def _load(self, now: int, present: int) -> PoolLoad:
        slots = sum(self._slots)
        measured = self._ended >= _MEASURED_TASKS
        return PoolLoad(
            ready=self._ready,
            starting=present - self._ready,
            draining=len(self._leaving),
            concurrency=self._terms.concurrency,
            in_flight=self._busy,
            queued=len(self._queue),
            utilization=sum(self._busy_slots) / max(slots, 1),
            arrivals_per_s=self._arrived_by_s[max(now - ARRIVALS_SEEN_S, 0) : now],
            service_s=self._service_total_s / self._ended if measured else self._tasks.mean_service_s,
            startup_s=self._terms.startup_s,
            oldest_wait_s=now - self._arrival[self._queue[0]] if self._queue else 0.0,
        )

    def _first_to_leave(self, count: int) -> list[_Agent]:
        """The idle ones first where the rule marks them, then the newest, which also are those that still start."""
        if count <= 0:
            return []
        staying = [agent for agent in reversed(self._agents) if agent.leaves_by_s is None]
        if self._rule.idle_first:
            staying.sort(key=lambda agent: len(agent.tasks))
        return staying[:count]

    def _dismiss(self, agent: _Agent, now_s: float) -> None:
        if agent in self._starting:
            self._starting.remove(agent)
        else:
            self._ready -= 1
        agent.leaves_by_s = now_s + self._terms.drain_timeout_s
        if agent.tasks:
            self._leaving.add(agent)
            self._busy_leaving += len(agent.tasks)
        else:
            self._leave(agent, now_s)

    def outcome(self) -> Outcome:
        """What came of it, at the end of the trace."""
        end_s = float(self._tasks.duration_s)
        self._account(end_s)
        waited = np.where(np.isnan(self._wait), end_s - self._tasks.arrival_s, self._wait)
        return Outcome(
            rule=self._rule.name,
            wait_s=waited,
            ended=self._ended,
            cut=frozenset(self._cut),
            in_service=self._busy,
            waiting=len(self._queue),
            held_s=dict(sorted(self._held_s.items())),
            scale_events=self._scale_events,
            agents_by_s=self._agents_by_s,
            waiting_by_s=self._waiting_by_s,
        )


def _first_size(tasks: Tasks, terms: PoolTerms) -> int:
    early = int(np.searchsorted(tasks.arrival_s, SIZED_FOR_S))
    work = early / SIZED_FOR_S * (tasks.mean_service_s or 0.0)
    return min(max(math.ceil(work / terms.concurrency / SIZED_AT), terms.min_agents), terms.max_agents)
