"""What a request is read from: bodies in pieces, headers, batches. Nothing that is sent does worse than a 4xx."""

import asyncio
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.errors import ApiError
from agent_runtime.http.batch import MAX_ITEMS, parse_batch
from agent_runtime.http.reading import Reader, request_ids
from agent_runtime.http.routes import OPERATIONS
from agent_runtime.pod.secrets import Secrets
from agent_runtime.pod.state import State
from agent_runtime.requests import parse_fields, parse_purge, parse_statement
from agent_runtime.routing.wishes import WISHES, parse_wishes

LIMIT = 100
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


class Roomy:
    """A state with memory for everything."""

    def arrived(self, body_bytes: int) -> None:
        pass

    def admits(self, body_bytes: int) -> bool:
        return True


def read(parts: list[bytes], length: bytes = b"") -> bytes:
    reader = Reader(cast(Secrets, None), cast(State, Roomy()), LIMIT, lambda: 0.0)
    rest = list(parts)

    async def receive() -> dict[str, Any]:
        part = rest.pop(0) if rest else b""
        return {"type": "http.request", "body": part, "more_body": bool(rest)}

    return asyncio.run(reader.body(receive, length))


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_a_body_is_the_sum_of_its_pieces_or_too_large(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    if len(whole) <= LIMIT:
        assert read(parts) == whole
    else:
        with pytest.raises(ApiError) as refused:
            read(parts)
        assert (refused.value.status, refused.value.close) == (413, True)


@given(st.binary(max_size=30))
def test_no_content_length_breaks_the_reader(length: bytes) -> None:
    try:
        assert read([b"{}"], length) == b"{}"
    except ApiError as error:
        assert error.status == 413


def fields(names: list[str]) -> st.SearchStrategy[bytes]:
    """Objects with these names among others, as JSON."""
    known = st.fixed_dictionaries({}, optional=dict.fromkeys(names, JSON))
    return st.builds(lambda one, other: orjson.dumps(other | one), known, st.dictionaries(st.text(), JSON, max_size=2))


@given(
    st.sampled_from(["chat", "embeddings", "responses"]),
    fields(
        [
            *("model", "messages", "input", "stream", "stream_options"),
            *("background", "conversation", "previous_response_id"),
        ]
    ),
)
def test_any_fields_are_a_request_or_a_400_that_names_one(operation: str, body: bytes) -> None:
    try:
        assert parse_fields(operation, body)["model"]
    except ApiError as error:
        assert error.status == 400 and error.param in orjson.loads(error.payload())["error"]["message"]


@given(fields(["near", "similarity", "model"]) | st.binary(max_size=50))
def test_what_to_forget_is_read_or_refused(body: bytes) -> None:
    for parse in (parse_statement, lambda body: parse_purge(body, ["m"])):
        try:
            parse(body)
        except ApiError as error:
            assert error.status == 400


ITEM = st.fixed_dictionaries({}, optional={"custom_id": JSON, "url": JSON | st.just("/v1/embeddings"), "body": JSON})


@given(st.fixed_dictionaries({}, optional={"requests": st.lists(ITEM | JSON, max_size=4) | JSON}))
def test_any_batch_is_read_item_by_item_or_refused(batch: dict[str, Any]) -> None:
    try:
        items = parse_batch(orjson.dumps(batch), OPERATIONS)
    except ApiError as error:
        assert error.status == 400
        return
    assert [orjson.loads(item.body) for item in items] == [one["body"] for one in batch["requests"]]
    assert len({item.custom_id for item in items}) == len(items)


def test_a_batch_has_a_bound() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    for number, fits in ((MAX_ITEMS, True), (MAX_ITEMS + 1, False)):
        batch = orjson.dumps({"requests": [{"body": body}] * number})
        if fits:
            assert len(parse_batch(batch, OPERATIONS)) == number
        else:
            with pytest.raises(ApiError):
                parse_batch(batch, OPERATIONS)


@given(st.dictionaries(st.sampled_from(sorted(WISHES)), st.binary(max_size=12)))
def test_wishes_lie_in_their_ranges_or_are_refused_by_name(headers: dict[bytes, bytes]) -> None:
    try:
        wishes = parse_wishes(headers)
    except ApiError as error:
        assert error.status == 400 and error.param is not None and error.param.encode() in headers
        return
    for share in (wishes.min_quality, wishes.min_accuracy, wishes.complexity):
        assert share is None or 0 <= share <= 1
    assert wishes.max_latency_ms is None or wishes.max_latency_ms >= 0


def test_request_ids_never_repeat() -> None:
    first, second = request_ids("a"), request_ids("b")
    assert len({make() for make in (first, second) for _ in range(100)}) == 200
