"""What do the tasks in service say that arrivals and the measured service time do not?

Two things. Little's law: tasks in service = arrivals per second × service time, so a mean of completed tasks that lags
behind (tasks grow slower, or the long ones have not ended yet) shows as more tasks in service than explained. And where
tasks outlast an agent's start-up, most of what is in service now still will be when a new agent serves: the load then
is known better than a Poisson load of the same mean.
"""

from __future__ import annotations

import math
from typing import NamedTuple

FADE_S = 600.0
FADE_SERVICES = 10.0
"""Tasks in service lag behind arrivals by one service time; ten of them make the lag small."""
_SIGMAS = 2.0
_MOST = 4.0
LASTING_SHARE = 0.5
"""Share of the tasks beyond what arrivals and chance explain that will still be there one start-up later, at least: a
long task seen in service is on average half done, and a backlog needs slots too."""


class Work(NamedTuple):
    """Fading sums of the tasks in service, seen and explained, in tasks × seconds; of arrivals; and of time."""

    at_s: float
    seen: float = 0.0
    explained: float = 0.0
    tasks: float = 0.0
    seconds: float = 0.0


def observed_work(
    work: Work | None,
    *,
    in_flight: int | None,
    queued: int | None,
    arrived: float | None,
    service_s: float | None,
    now_s: float,
) -> Work | None:
    """The sums with what came since the last observation.

    While tasks wait, what is in service is bounded by the slots and says nothing about the tasks: such time is left
    out, and so is time of which something is unknown. A clock that went back begins anew.
    """
    if work is None or now_s < work.at_s:
        return Work(now_s)
    passed_s = now_s - work.at_s
    if in_flight is None or queued is None or queued > 0 or arrived is None or service_s is None:
        return work._replace(at_s=now_s)
    keep = math.exp(-passed_s / max(FADE_S, FADE_SERVICES * service_s))
    return Work(
        now_s,
        keep * work.seen + in_flight * passed_s,
        keep * work.explained + arrived * service_s,
        keep * work.tasks + arrived,
        keep * work.seconds + passed_s,
    )


def service_factor(work: Work | None, service_s: float) -> float:
    """Factor by which tasks last longer (or shorter) than measured, beyond what chance explains; within 1/4 and 4.

    The logarithm of seen over explained has a standard deviation of about √(2 / tasks), of service times as scattered
    as exponential ones, and an error of one service time at the edges of the window.
    """
    if work is None or work.explained <= 0 or work.seen <= 0:
        return 1.0
    log = math.log(work.seen / work.explained)
    chance = _SIGMAS * math.sqrt(2.0 / (work.tasks + 1.0)) + _SIGMAS * service_s / work.seconds
    return min(max(math.exp(math.copysign(max(abs(log) - chance, 0.0), log)), 1.0 / _MOST), _MOST)


def staying_share(service_s: float, ahead_s: float) -> float:
    """Share of the tasks in service now that still will be `ahead_s` later, of exponential service times."""
    return math.exp(-ahead_s / service_s)


def load_ahead(explained: float, in_system: float, *, service_s: float, ahead_s: float) -> tuple[float, float]:
    """Slots' worth of work beyond what the arrivals explain, and the load's variance over its mean, `ahead_s` from now.

    In a system with slots for all, of n tasks each is still there with probability p = exp(−ahead / service), and new
    ones are Poisson with mean a·(1 − p): mean a + p·(n − a), variance n·p·(1 − p) + a·(1 − p). Short tasks (p → 0)
    leave the Poisson load; for long ones the variance is small. Two standard deviations of it, √a, are chance: they are
    gone when a new agent serves, and to follow them would move a steady pool once a minute.
    """
    stays = staying_share(service_s, ahead_s)
    more = in_system - explained
    beyond_chance = more - _SIGMAS * math.sqrt(max(explained, 1.0))
    extra = max(stays * more, LASTING_SHARE * beyond_chance)
    mean = explained + stays * more
    variance = (1.0 - stays) * (in_system * stays + explained)
    return extra, min(max(variance / mean, 0.1), 1.0) if mean > 0 else 1.0
