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


@given(st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_damaged_entry_never_raises(position: int, noise: bytes) -> None:
    packed = bytearray(pack(make(b"x" * 2000)))
    packed[position : position + len(noise)] = noise
    unpack(bytes(packed))


def test_an_entry_of_another_release_is_no_entry() -> None:
    assert unpack(pack(make()).replace(b'"v":1', b'"v":9')) is None
