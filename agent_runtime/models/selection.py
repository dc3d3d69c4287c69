"""Which of a model's endpoints is called next? Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent_runtime.models.endpoints import Endpoint


def choose(
    endpoints: Sequence[Endpoint],
    ready: Callable[[Endpoint], bool],
    tries: Sequence[int],
    chance: Callable[[], float],
) -> Endpoint | None:
    """The endpoint for the next try; None when none may be called now.

    Those tried least for this call go first, so that a failure leads to another endpoint before it leads to the same
    one again; among them the lowest priority; among those by weight. ``tries`` has one count per endpoint, ``chance``
    is uniform in [0, 1).
    """
    best: list[Endpoint] = []
    rank = (0, 0)
    for endpoint, tried in zip(endpoints, tries, strict=True):
        if not ready(endpoint):
            continue
        own = (tried, endpoint.priority)
        if not best or own < rank:
            best, rank = [endpoint], own
        elif own == rank:
            best.append(endpoint)
    if len(best) < 2:
        return best[0] if best else None
    mark = chance() * sum(endpoint.weight for endpoint in best)
    for endpoint in best:
        mark -= endpoint.weight
        if mark < 0:
            return endpoint
    return best[-1]
