"""What a follower makes of the list another agent writes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.cache.broadcast import RemoteStream
from agent_runtime.cache.entry import pack
from agent_runtime.errors import ApiError
from tests.unit.runtime.builders import entry

PARTS = [(b"data: a\n\n", b""), (b"", b"data: usage\n\n"), (b"data: [DONE]\n\n", b"")]
ITEMS = [b"part %d %d\n" % (number, len(part[0])) + part[0] + part[1] for number, part in enumerate(PARTS)]
END = b"end 3 0\n" + pack(replace(entry(), body=b""))


class Written:
    """The list, and how much of it is there at each reading."""

    def __init__(self, items: list[bytes], step: int = 1) -> None:
        self.items, self.step, self.there, self.held = items, step, 0, True

    async def ask(self, key: str, turn: str) -> None:
        pass

    async def read(self, key: str, turn: str, position: int) -> list[bytes]:
        self.there += self.step
        return self.items[position : self.there]

    async def is_held(self, key: str, turn: str) -> bool:
        return self.held


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.1
        return self.now_s


async def read(written: Written) -> tuple[list[tuple[bytes, bytes]], RemoteStream]:
    stream = RemoteStream(written, "k", "agent.1", Clock())  # type: ignore[arg-type]
    return [part async for part in stream.parts()], stream


@given(st.lists(st.integers(0, 3), max_size=3), st.integers(1, 8))
def test_what_is_written_again_after_redis_was_away_is_read_once(restarts: list[int], step: int) -> None:
    import asyncio

    written = [item for upto in restarts for item in ITEMS[:upto]] + [*ITEMS, END]
    parts, stream = asyncio.run(read(Written(written, step)))
    assert parts == PARTS
    assert stream.entry is not None and stream.entry.cost_nanousd == entry().cost_nanousd


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_a_lost_item_ends_the_stream_instead_of_leaving_a_hole(lost: int) -> None:
    seen = []
    stream = RemoteStream(Written([*ITEMS[:lost], *ITEMS[lost + 1 :], END]), "k", "agent.1", Clock())  # type: ignore[arg-type]
    with pytest.raises(ApiError):
        async for part in stream.parts():
            seen.append(part)
    assert seen == PARTS[:lost]


async def test_a_list_whose_writer_is_gone_ends_the_stream() -> None:
    written = Written(ITEMS[:1])
    written.held = False
    with pytest.raises(ApiError, match="broke off"):
        await read(written)
