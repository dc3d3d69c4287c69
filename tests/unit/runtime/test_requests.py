import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.errors import ApiError
from agent_runtime.models.endpoints import make_routes, rewrite
from agent_runtime.requests import parse_fields, wants_stream
from agentpool_api.upstreams import Model

GOOD = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("operation", "body", "param"),
    [
        ("chat", b"", None),
        ("chat", b"{", None),
        ("chat", b"[]", None),
        ("chat", b"\xff", None),
        ("chat", b"[" * 100_000, None),
        ("chat", b"NaN", None),
        ("chat", b"{}", "model"),
        ("chat", orjson.dumps(GOOD | {"model": ""}), "model"),
        ("chat", orjson.dumps(GOOD | {"model": ["m"]}), "model"),
        ("chat", orjson.dumps(GOOD | {"messages": []}), "messages"),
        ("chat", orjson.dumps(GOOD | {"messages": "hi"}), "messages"),
        ("chat", orjson.dumps(GOOD | {"stream": "yes"}), "stream"),
        ("chat", orjson.dumps(GOOD | {"stream_options": []}), "stream_options"),
        ("embeddings", b'{"model":"m"}', "input"),
        ("embeddings", b'{"model":"m","input":""}', "input"),
        ("embeddings", b'{"model":"m","input":{}}', "input"),
    ],
)
def test_a_bad_request_is_refused_with_the_field_to_change(operation: str, body: bytes, param: str | None) -> None:
    with pytest.raises(ApiError) as error:
        parse_fields(operation, body)
    assert (error.value.status, error.value.param) == (400, param)
    assert orjson.loads(error.value.payload())["error"]["message"]


@given(st.binary(max_size=200), st.sampled_from(["chat", "embeddings"]))
def test_no_bytes_do_worse_than_a_400(body: bytes, operation: str) -> None:
    try:
        wants_stream(operation, parse_fields(operation, body))
    except ApiError as error:
        assert error.status == 400


@pytest.mark.parametrize(
    ("fields", "wants"),
    [
        ({}, (False, False)),
        ({"stream": True}, (True, False)),
        ({"stream": True, "stream_options": {"include_usage": True}}, (True, True)),
        ({"stream": False, "stream_options": {"include_usage": True}}, (False, False)),
        ({"stream": True, "stream_options": None}, (True, False)),
    ],
)
def test_streaming_wishes(fields: dict, wants: tuple[bool, bool]) -> None:
    assert wants_stream("chat", fields) == wants


def test_embeddings_are_never_streamed() -> None:
    assert wants_stream("embeddings", {"stream": True}) == (False, False)


def test_a_rewritten_body_keeps_every_other_byte_of_its_values() -> None:
    body = b'{"model":"a","big":123456789012345678901234567890,"f":1.0,"x":{"y" : [1 , 2e5]},"s":"\\u00fc"}'
    assert rewrite(body, {"model": "b"}) == (
        b'{"model":"b","big":123456789012345678901234567890,"f":1.0,"x":{"y" : [1 , 2e5]},"s":"\\u00fc"}'
    )
    assert rewrite(body, {}) == body


def test_an_endpoint_takes_the_path_below_its_base() -> None:
    (route,) = make_routes([Model(name="m", endpoint="https://host/openai/v1/", upstream_model="u")])
    (endpoint,) = route.endpoints
    assert str(endpoint.url) == "https://host/openai/v1/chat/completions"
    assert (endpoint.host, endpoint.upstream_model) == ("host:443", "u")
