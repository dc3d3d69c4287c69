"""How many slots are tasks worth that wait in a queue?"""

from __future__ import annotations


def backlog_slots(backlog: int | None, *, service_s: float | None, startup_s: float, unknown_slots: int) -> float:
    """Slots that tasks nobody has taken yet are worth.

    As many as empty the backlog in the time an agent takes to start, or in one task's time where that is longer:
    backlog × service / max(service, start-up). Faster would order agents that have no work when they serve: 10,000
    tasks of 0.1 s and 10 s to start are 100 slots. Before a task's time is known, at most ``unknown_slots``.
    """
    if not backlog:
        return 0.0
    if service_s is None:
        return float(min(backlog, unknown_slots))
    return backlog * service_s / max(service_s, startup_s, 1.0)
