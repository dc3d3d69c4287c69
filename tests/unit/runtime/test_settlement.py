from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.budget import settlement as module
from agent_runtime.budget.settlement import Charge, Settlement, fold
from agent_runtime.redis.wire import RedisUnavailable
from agent_runtime.telemetry.instruments import Instruments
from agentpool_api.wire import UsageRecord

CHARGES = st.lists(
    st.builds(
        Charge,
        request_id=st.uuids().map(str),
        at_s=st.floats(1e9, 1e9 + 5000),
        pool=st.just("p"),
        pod=st.just("a"),
        model=st.sampled_from(["m", "n"]),
        input_tokens=st.integers(0, 1000),
        cached_input_tokens=st.integers(0, 1000),
        output_tokens=st.integers(0, 1000),
        cost_nanousd=st.integers(0, 10**12),
        saved_nanousd=st.integers(0, 10**12),
        cache=st.sampled_from(["", "l1", "l2"]),
        priced=st.booleans(),
    ),
    max_size=30,
)


def charge(number: int, cost_nanousd: int = 1) -> Charge:
    return Charge(
        request_id=f"r{number}",
        at_s=1e9,
        pool="p",
        pod="a",
        model="m",
        input_tokens=1,
        cached_input_tokens=0,
        output_tokens=1,
        cost_nanousd=cost_nanousd,
    )


class Ledger:
    """Redis, which may be away."""

    def __init__(self) -> None:
        self.away = False
        self.batches: list[list[str]] = []

    async def run(self, script: str, digest: str, keys: list[str], args: list[Any]) -> int:
        if self.away:
            raise RedisUnavailable("away")
        self.batches.append(keys[2:])
        return len(keys) - 2

    async def probe(self) -> bool:
        return not self.away


@given(CHARGES)
def test_folding_keeps_every_sum(charges: list[Charge]) -> None:
    folded = fold(charges)
    for field in ("cost_nanousd", "saved_nanousd", "input_tokens", "cached_input_tokens", "output_tokens"):
        assert sum(getattr(c, field) for c in folded) == sum(getattr(c, field) for c in charges)
    assert {c.request_id for c in folded} <= {c.request_id for c in charges}


@given(CHARGES)
def test_a_charge_is_a_usage_record(charges: list[Charge]) -> None:
    for one in charges:
        record = UsageRecord.model_validate_json(msgspec.json.encode(one))
        assert (record.request_id, record.cost_nanousd) == (one.request_id, one.cost_nanousd)


async def test_nothing_is_lost_while_redis_is_away() -> None:
    ledger = Ledger()
    box = Settlement(ledger, "ns", "p", Instruments())  # type: ignore[arg-type]
    ledger.away = True
    for number in range(300):
        box.add(charge(number))
        assert await box.flush() is False
    ledger.away = False
    assert await box.flush() is True
    sent = [key for batch in ledger.batches for key in batch]
    assert len(sent) == len(set(sent)) == 300
    assert box.pending == 0


async def test_a_full_outbox_loses_detail_but_no_money(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 100)
    box = Settlement(Ledger(), "ns", "p", Instruments())  # type: ignore[arg-type]
    for number in range(1000):
        box.add(charge(number, cost_nanousd=number))
    assert box.pending <= 100
    assert sum(c.cost_nanousd for c in box._pending) == sum(range(1000))


async def test_a_drain_gives_up_at_its_deadline_and_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    ledger.away = True
    box = Settlement(ledger, "ns", "p", Instruments())  # type: ignore[arg-type]
    box.add(charge(1, cost_nanousd=7))
    await box.drain(0.0, lambda: 1.0)
    assert caplog.records[-1].fields == {"records": 1, "cost_nanousd": 7}  # type: ignore[attr-defined]
