"""Streams of the Responses API, cut anywhere."""

from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.models.responses import ResponsesReader, reader_of, response_id
from agent_runtime.usage import Usage
from tests.redis.runtime_app.upstream import event, response, response_events

WHOLE = b"".join(response_events())


def fed(chunks: list[bytes]) -> tuple[ResponsesReader, bytes]:
    reader, passed = ResponsesReader(), b""
    for chunk in chunks:
        frames, apart = reader.feed(chunk)
        assert not apart
        passed += frames
    return reader, passed


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6))
def test_wherever_it_is_cut_it_is_passed_on_whole_and_counted_once(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    reader, passed = fed([WHOLE[a:b] for a, b in pairwise(places)])
    assert passed == WHOLE
    assert (reader.usage, reader.frames, reader.complete) == (Usage(10, 6, 4), 2, True)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_stream_that_ends_too_soon_is_not_complete(end: int) -> None:
    assert not fed([WHOLE[:end]])[0].complete


@given(st.text())
def test_no_text_of_a_model_ends_a_stream(text: str) -> None:
    delta = event("response.output_text.delta", 1, delta=text + '"type":"response.completed","type":"error"')
    reader, _ = fed([delta])
    assert not reader.finished and not reader.failed and reader.usage is None


def test_a_failed_response_still_tells_its_usage() -> None:
    reader, _ = fed([event("response.failed", 1, response=response(status="failed"))])
    assert reader.failed and not reader.complete and reader.usage == Usage(10, 6, 4)


def test_a_cut_off_response_is_whole_in_itself() -> None:
    assert fed([event("response.incomplete", 1, response=response(status="incomplete"))])[0].complete


def test_the_break_is_an_error_event_in_its_place() -> None:
    reader, _ = fed(response_events()[:2])
    frame = reader.failure_frame(b'{"error":{"message":"m","type":"server_error","param":null,"code":"c"}}')
    name, data = frame.rstrip().split(b"\n")
    told = orjson.loads(data[6:])
    assert name == b"event: error" and told["error"]["message"] == told["message"] == "m"
    assert (told["type"], told["code"], told["sequence_number"]) == ("error", "c", 2)


def test_the_id_is_found_in_both_forms_and_in_nothing_else() -> None:
    assert response_id(orjson.dumps(response(7))) == response_id(response_events(7)[0]) == "resp_7"
    for other in (b"", b"{", b"[1]", b'{"id":3}', b"data: [1]\n\n", response_events()[1]):
        assert response_id(other) is None


def test_other_operations_keep_their_reader() -> None:
    assert not isinstance(reader_of("chat"), ResponsesReader)
