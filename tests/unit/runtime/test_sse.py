from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.models.sse import (
    DONE_FRAME,
    MAX_FRAME_BYTES,
    FrameTooLarge,
    StreamReader,
    data_frame,
    split_frames,
    with_usage,
)
from agent_runtime.usage import Usage


def chunk(text: str | None = None, finish: str | None = None, **more) -> bytes:
    delta = {} if text is None else {"content": text}
    return data_frame(
        orjson.dumps({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})
    )


USAGE = data_frame(b'{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}')
STREAM = chunk("Hel") + chunk("lo", usage=None) + chunk(None, "stop") + USAGE + DONE_FRAME


@given(st.lists(st.integers(1, len(STREAM)), max_size=12), st.booleans())
def test_the_cut_of_the_chunks_does_not_matter(cuts: list[int], crlf: bool) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    reader = StreamReader()
    out, usage_frames = b"", b""
    for start, end in pairwise(places):
        frames, usage_frame = reader.feed(stream[start:end])
        out += frames
        usage_frames += usage_frame
    usage = USAGE.replace(b"\n", b"\r\n") if crlf else USAGE
    assert out == stream.replace(usage, b"")
    assert usage_frames == usage
    assert reader.usage == Usage(3, 0, 2)
    assert reader.complete


def test_text_that_looks_like_usage_is_passed_on() -> None:
    frame = chunk('"usage": {"prompt_tokens": 1}')
    assert StreamReader().feed(frame) == (frame, b"")


def test_usage_beside_content_is_counted_and_passed_on() -> None:
    frame = chunk("x", usage={"prompt_tokens": 1, "completion_tokens": 0})
    reader = StreamReader()
    assert reader.feed(frame) == (frame, b"")
    assert reader.usage == Usage(1, 0, 0)


@pytest.mark.parametrize(
    "usage", [b"{}", b'{"prompt_tokens":-1,"completion_tokens":1}', b'{"prompt_tokens":"3","completion_tokens":1}']
)
def test_nonsense_usage_is_no_usage(usage: bytes) -> None:
    reader = StreamReader()
    reader.feed(data_frame(b'{"choices":[],"usage":' + usage + b"}"))
    assert reader.usage is None


@pytest.mark.parametrize(
    ("stream", "complete"),
    [
        (chunk("a") + chunk(None, "stop") + DONE_FRAME, True),
        (chunk("a") + chunk(None, "stop"), True),
        (chunk("a") + DONE_FRAME, True),
        (chunk("a"), False),
        (b"", False),
        (chunk("a") + chunk(None, "stop") + b"data: {", False),
        (chunk("a") + data_frame(b'{"error":{"message":"overloaded"}}') + DONE_FRAME, False),
    ],
    ids=["whole", "no-done", "no-reason", "cut", "empty", "half-frame", "error"],
)
def test_only_a_whole_stream_is_complete(stream: bytes, complete: bool) -> None:
    reader = StreamReader()
    reader.feed(stream)
    assert reader.complete is complete


@given(st.lists(st.binary(max_size=80), max_size=8))
def test_no_bytes_break_the_reader_and_none_are_lost(chunks: list[bytes]) -> None:
    reader = StreamReader()
    out = b"".join(frames + usage for frames, usage in map(reader.feed, chunks))
    assert b"".join(chunks).startswith(out)


def test_a_frame_without_end_is_refused() -> None:
    reader = StreamReader()
    with pytest.raises(FrameTooLarge):
        for _ in range(MAX_FRAME_BYTES // 2**20 + 1):
            reader.feed(b"x" * 2**20)


def test_usage_goes_before_the_end_mark() -> None:
    assert split_frames(with_usage(chunk("a") + DONE_FRAME, USAGE)) == [chunk("a"), USAGE, DONE_FRAME]
    assert with_usage(b"", USAGE) == USAGE
    assert with_usage(chunk("a"), b"") == chunk("a")
