"""What have the pools of a budget spent in each of its windows?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from agentpool_api.keys import SPEND_BUCKET_S, spend_bucket
from agentpool_api.periods import WindowName, window_at
from agentpool_operator.decide.budget import WindowSpend
from agentpool_operator.observe.spend import Spend, SpendBook, burn_nanousd_per_h


def observe_windows(
    limits_nanousd: Mapping[WindowName, int], time_zone: str, books: Iterable[SpendBook], *, now: datetime
) -> tuple[WindowSpend, ...]:
    """Every limited window as it stands. Raises ZoneInfoNotFoundError for a zone this program does not know."""
    books = tuple(books)
    now_s = now.timestamp()
    bucket = spend_bucket(now_s)
    burn = burn_nanousd_per_h(
        _sum(books, bucket, bucket + SPEND_BUCKET_S),
        _sum(books, bucket - SPEND_BUCKET_S, bucket),
        into_bucket_s=now_s - bucket,
    )
    found = []
    for name, limit in limits_nanousd.items():
        window = window_at(name, time_zone, now)
        spend = _sum(books, int(window.starts_at.timestamp()), int(window.resets_at.timestamp()))
        found.append(
            WindowSpend(
                name=name,
                key=window.key,
                resets_at=window.resets_at,
                limit_nanousd=limit,
                agents_nanousd=spend.agents,
                tokens_nanousd=spend.tokens,
                burn_nanousd_per_h=burn,
            )
        )
    return tuple(found)


def _sum(books: Iterable[SpendBook], start_s: int, end_s: int) -> Spend:
    total = Spend()
    for book in books:
        total = total.plus(book.between(start_s, end_s))
    return total
