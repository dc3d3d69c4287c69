import random
import zlib

from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.cache.entry import COMPRESS_FROM_BYTES, pack, unpack
from agent_runtime.usage import Usage
from tests.unit.runtime.builders import entry as make


@given(st.binary(max_size=3 * COMPRESS_FROM_BYTES), st.booleans(), st.text(max_size=9).map(str.encode))
def test_an_entry_survives_the_shared_tier(body: bytes, streamed: bool, usage_frame: bytes) -> None:
    entry = make(body, streamed=streamed, usage_frame=usage_frame, usage=Usage(9, 2, 1, estimated=True))
    assert unpack(pack(entry)) == entry


def test_a_long_body_takes_less_room_than_its_length() -> None:
    entry = make(b"the same words again and again " * 200)
    assert len(pack(entry)) < len(entry.body) / 3


@given(st.binary(max_size=300))
def test_foreign_bytes_are_no_entry(data: bytes) -> None:
    assert unpack(data) is None


@given(st.integers(0, 230), st.binary(min_size=1, max_size=3))
def test_a_damaged_entry_never_raises(position: int, noise: bytes) -> None:
    packed = bytearray(pack(make(b"x" * 2000)))
    packed[position : position + len(noise)] = noise
    unpack(bytes(packed))


@given(st.data())
def test_a_damaged_compressed_body_is_no_answer_and_never_another_one(data) -> None:
    body = b"".join(b"sentence number %d. " % number for number in range(100))
    packed = bytearray(pack(make(body)))
    start = packed.index(b"\n") + 1
    position = data.draw(st.integers(start, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    found = unpack(bytes(packed))
    assert found is None or found.body == body
    assert unpack(bytes(packed[: data.draw(st.integers(start, len(packed) - 1))])) is None


def test_a_body_that_would_fill_the_memory_is_no_entry(monkeypatch) -> None:
    packed = pack(make(b"x" * 100_000))
    assert unpack(packed) is not None
    monkeypatch.setattr("agent_runtime.cache.entry.MAX_UNPACKED_BYTES", 99_999)
    assert unpack(packed) is None


def test_a_body_that_does_not_get_shorter_is_left_as_it_is() -> None:
    noise = random.Random(1).randbytes(2000)
    assert b'"packing":"plain"' in pack(make(noise))
    assert b'"packing":"zstd"' in pack(make(noise * 2))


def test_entries_of_earlier_releases_can_be_read() -> None:
    long = make(b"y" * 2000)
    head = pack(long).partition(b"\n")[0]
    deflated = head.replace(b'"packing":"zstd"', b'"deflated":true') + b"\n" + zlib.compress(long.body)
    assert unpack(deflated) == long
    short = make(b"short")
    assert unpack(pack(short).replace(b'"packing":"plain"', b'"deflated":false')) == short


def test_an_entry_of_another_release_is_no_entry() -> None:
    assert unpack(pack(make()).replace(b'"v":1', b'"v":9')) is None
