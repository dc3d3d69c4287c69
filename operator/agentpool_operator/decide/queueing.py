"""How many agents does an expected load need, so that few tasks wait longer than they should?

Erlang C in its square-root (Halfin and Whitt) form, so that a thousand slots cost as much as two:

    P(wait > t) ≈ [1 + β·Φ(β)/φ(β)]⁻¹ · exp(−(s − a)·t / (S·z)),   β = (1 − a/s)·√(s/z)

with s slots, a the offered load (arrivals per second × service time S) and z the peakedness of the arrivals (variance
over mean of their counts, Hayward's approximation: s/z slots and a/z load). Sources: S. Halfin and W. Whitt, "Heavy-
traffic limits for queues with many exponential servers", Operations Research 29 (1981); A. Fredericks, "Congestion in
blocking systems", Bell System Technical Journal 59 (1980).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRUDENT_SURGE, MOST_SURGE = 1.5, 2.5
KEPT_OVER_ASKED = 2.0


def _log_delay_probability(beta: float) -> float:
    density = math.exp(-beta * beta / 2) / math.sqrt(2 * math.pi)
    below = (1 + math.erf(beta / math.sqrt(2))) / 2
    return -math.log1p(beta * below / density)


_BETA = np.linspace(0.0, 8.0, 801)
_LOG_DELAY = np.array([_log_delay_probability(float(beta)) for beta in _BETA])


def late_share(slots: int, offered: Floats, *, service_s: float, wait_s: float, peakedness: float) -> Floats:
    """Share of tasks that wait longer than `wait_s`, for each offered load, in [0, 1] up to full load.

    Beyond full load the share is 1 plus the overload, because a queue that grows makes later tasks late too: the
    result never stops falling as slots are added.
    """
    if slots <= 0:
        return 1.0 + offered
    load = offered / slots
    beta = np.maximum(1.0 - load, 0.0) * math.sqrt(slots / peakedness)
    log_late = np.interp(beta, _BETA, _LOG_DELAY) - np.maximum(slots - offered, 0.0) * wait_s / (service_s * peakedness)
    result: Floats = np.exp(log_late) + np.maximum(load - 1.0, 0.0)
    return result


def agents_for(
    offered: Floats,
    *,
    concurrency: int,
    service_s: float,
    wait_s: float,
    peakedness: float = 1.0,
    price: float = 5.0,
    limit: int,
) -> int:
    """Fewest agents, at most `limit`, whose expected late work costs no more than one agent.

    `offered` is a sample of equally likely offered loads in slots: the work that would be late is their mean of load ×
    `late_share`, in agents, and `price` is what one agent of it is worth. A busy pool therefore accepts a smaller late
    share than an idle one, which is where an agent prevents most late tasks. More load never gives fewer agents.
    """

    def late_work(agents: int) -> float:
        late = late_share(agents * concurrency, offered, service_s=service_s, wait_s=wait_s, peakedness=peakedness)
        return float(np.dot(offered, late)) / len(offered) / concurrency

    if not len(offered) or float(offered.max()) <= 0:
        return 0
    low, high = 0, limit
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if price * late_work(middle) <= 1.0 else (middle + 1, high)
    return low


def late_work_prices(startup_s: float) -> tuple[float, float]:
    """Agents that one agent's worth of late work may cost to avoid: where one more is asked for, and where one is kept.

    5 and one for each 36 s of start-up, at least 6.25: a shortage lasts until a new agent serves, so a slow start makes
    it dearer. One that is there stays for half of what a new one must prevent, or chance would have agents come and go:
    lazy capacity provisioning (M. Lin, A. Wierman, L. Andrew, E. Thereska, "Dynamic right-sizing for power-proportional
    data centers", INFOCOM 2011). The figures were chosen once, for every pool, by replaying traffic; see
    docs/scaling.md.
    """
    asked = max(6.25, 5.0 + min(startup_s, 600.0) / 36.0)
    return asked, KEPT_OVER_ASKED * asked


def most_agents(load: float, *, concurrency: int, surprise: float = 1.0) -> int:
    """Agents beyond which safety and backlog are not worth their start-up: max(surge·a, a + 4·√a + 2) slots.

    Four standard deviations of Poisson load, or half as much again. Without it a long queue at a small pool orders far
    more agents than will have work when they serve: at 100 tasks per second, 10 per agent and a minute to start, this
    allows 15 agents where 10 are needed, and they empty the queue. The surge is 1.5; where the pool's own past rose by
    more within a start-up (`surprise`) it is that factor, up to 2.5: the queue such a rise leaves is emptied sooner.
    """
    surge = min(max(surprise, PRUDENT_SURGE), MOST_SURGE)
    return math.ceil(max(surge * load, load + 4.0 * math.sqrt(load) + 2.0) / concurrency - 1e-9)
