"""How many agents may run on spot capacity, when spot nodes are short?

Agents that find no spot node for `fallback_after_s` run on demand instead: the limit falls to what has a node. It is
tried again later, ever more rarely: with one agent, and while those tried become ready, with two, four and so on. So a
trial that fails costs the pool one agent for a while, never a large part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_RETRY_S = 300.0
LONGEST_RETRY_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotFacts:
    """How the spot agents of a pool fare. Times are Unix seconds."""

    placed: int = 0
    """Agents no scheduler has refused."""
    ready: int = 0
    waiting_since_s: float | None = None
    """Since when the longest waiting agent finds no node; None when none waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotState:
    """What is known about spot capacity from before. It survives a restart."""

    limit: int | None = None
    """Most agents on spot; None: no limit."""
    failures: int = 0
    """Fallbacks since spot last took all agents."""
    retry_at_s: float = 0.0
    step: int = 0
    """Agents on trial; 0 while none is."""

    @property
    def has_fallen_back(self) -> bool:
        """Whether agents run on demand that would be on spot, and no trial is on."""
        return self.limit is not None and not self.step


def decide_spot(state: SpotState, seen: SpotFacts, *, wanted: int, fallback_after_s: float, now_s: float) -> SpotState:
    """The next state. ``wanted`` is the number of agents spot would hold without a limit."""
    is_overdue = seen.waiting_since_s is not None and now_s - seen.waiting_since_s >= fallback_after_s
    limit = state.limit
    if limit is None:
        return _fallen(state, seen.placed, now_s) if is_overdue else state
    if not state.step:
        if is_overdue and seen.placed < limit:  # nodes were taken back; what waits from before is on its way out
            state = replace(state, limit=seen.placed)
        is_due = now_s >= state.retry_at_s or state.retry_at_s - now_s > LONGEST_RETRY_S  # the clock went back
        return _tried(state, 1) if is_due and wanted > 0 else state
    if is_overdue:
        return _fallen(state, min(seen.placed, limit), now_s)
    if seen.ready < min(limit, wanted):
        return state
    return SpotState() if limit >= wanted else _tried(state, state.step * 2)


def _fallen(state: SpotState, placed: int, now_s: float) -> SpotState:
    wait_s = min(FIRST_RETRY_S * 2 ** min(state.failures, 10), LONGEST_RETRY_S)
    return SpotState(limit=placed, failures=state.failures + 1, retry_at_s=now_s + wait_s)


def _tried(state: SpotState, step: int) -> SpotState:
    return replace(state, limit=(state.limit or 0) + step, step=step)
