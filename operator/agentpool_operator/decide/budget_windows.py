"""What was spent in each window, also when the figures in Redis are less than what was written down before?

Within a window spend only rises. When the pools' figures show less than the budget's own status said, a pool has left
or Redis has lost data; the difference is carried, so that neither frees money that was spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agentpool_api.conditions import rfc3339
from agentpool_api.costbudget import WindowStatus
from agentpool_api.money import nanousd
from agentpool_api.wire import whole_number
from agentpool_operator.decide.budget import WindowSpend

TOLERANCE_NANOUSD = 100_000
"""The status is written with four decimals; less than this is rounding."""

SELECTOR, LOST_UNTIL = "selector", "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedRecord:
    """What Redis holds for a budget beside its pools' spend."""

    selector: str = ""
    """Digest of the selector it was counted for; empty when there is no record."""
    amounts: Mapping[str, int] = field(default_factory=dict)
    """Nano-USD by window key."""
    lost_until_s: int = 0
    """Until when a loss of data is told."""

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> CarriedRecord:
        """A record from Redis; what is no number is left out."""
        texts = {name: whole_number(text) for name, text in raw.items() if name != SELECTOR}
        numbers = {name: number for name, number in texts.items() if number is not None}
        lost_until_s = numbers.pop(LOST_UNTIL, 0)
        return cls(selector=raw.get(SELECTOR, ""), amounts=numbers, lost_until_s=lost_until_s)

    def fields(self) -> dict[str, str]:
        """As it is written to Redis."""
        amounts = {window: str(amount) for window, amount in self.amounts.items()}
        return {SELECTOR: self.selector, LOST_UNTIL: str(self.lost_until_s), **amounts}


@dataclass(frozen=True, slots=True)
class Carried:
    """Windows with what is carried in them, and the record to keep."""

    windows: tuple[WindowSpend, ...]
    record: CarriedRecord


def carry(
    windows: Sequence[WindowSpend], held: CarriedRecord, written: Iterable[WindowStatus], *, selector: str
) -> Carried:
    """``held`` is the record in Redis, ``written`` the windows of the budget's status.

    Another selector counts anew: what it does not select is not its spend. A record that is gone while the status has
    windows is a loss of data: all tokens in Redis were then spent since, while living agents' time has been charged
    anew from their start.
    """
    if held.selector not in ("", selector):
        return Carried(tuple(windows), CarriedRecord(selector=selector))
    known = {(window.name, window.resets_at): window for window in written}
    is_lost = not held.selector and any(_amount(window.spent) for window in known.values())
    result = []
    for window in windows:
        before = known.get((window.name, rfc3339(window.resets_at)))
        carried_nanousd = held.amounts.get(window.key, 0)
        if before is not None and is_lost:
            carried_nanousd = _amount(before.spent) - min(_amount(before.agents), window.agents_nanousd)
        elif before is not None:
            missing = _amount(before.spent) - window.agents_nanousd - window.tokens_nanousd - carried_nanousd
            carried_nanousd += missing if missing > TOLERANCE_NANOUSD else 0
        result.append(replace(window, carried_nanousd=carried_nanousd))
    lost_until_s = held.lost_until_s
    if is_lost:
        lost_until_s = max((int(window.resets_at.timestamp()) for window in windows), default=0)
    amounts = {window.key: window.carried_nanousd for window in result if window.carried_nanousd}
    return Carried(tuple(result), CarriedRecord(selector=selector, amounts=amounts, lost_until_s=lost_until_s))


def _amount(text: str) -> int:
    """Nano-USD of an amount in a status; one that cannot be read is nothing."""
    try:
        return nanousd(text)
    except ValueError:
        return 0
