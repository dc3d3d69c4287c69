"""What the chat API knows goes through untouched, whole or streamed, fresh or stored; the official SDK reads it."""

from typing import Any

import orjson
import pytest

from tests.redis.runtime_app.conftest import BEARER, Runtime
from tests.redis.runtime_app.test_openai_sdk import client
from tests.redis.runtime_app.upstream import (
    DONE,
    USAGE_FRAME,
    Call,
    Upstream,
    answer,
    completion,
    end_stream,
    frame,
    start_stream,
    stream_part,
)

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather  of a  place",
        "strict": True,
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
    },
}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}}
PARTS = [
    {"type": "text", "text": "what is this?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
]
TOOL_TURNS = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "t", "type": "function", "function": {}}]},
    {"role": "tool", "tool_call_id": "t", "content": "12.50"},
]
LOGPROB = {"token": "hi", "logprob": -0.25, "bytes": [104, 105], "top_logprobs": [{"token": "hi", "logprob": -0.25}]}
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"at": "Rome"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"at": "Oslo"}'}},
]

CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "text": ({"temperature": 0}, [{"message": {"content": "hello"}}]),
    "several choices": ({"n": 2}, [{"message": {"content": "one"}}, {"message": {"content": "two"}}]),
    "log probabilities": (
        {"logprobs": True, "top_logprobs": 1},
        [{"message": {"content": "hi"}, "logprobs": {"content": [LOGPROB], "refusal": None}}],
    ),
    "structured output": ({"response_format": SCHEMA}, [{"message": {"content": '{"a": 1.50}'}}]),
    "a refusal": ({"response_format": SCHEMA}, [{"message": {"content": None, "refusal": "I cannot"}}]),
    "tools": (
        {"tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": True},
        [{"message": {"content": None, "tool_calls": CALLS}, "finish_reason": "tool_calls"}],
    ),
    "tool results": ({"tools": [WEATHER], "messages": TOOL_TURNS}, [{"message": {"content": "12.5 degrees"}}]),
    "parts of many kinds": (
        {"messages": [{"role": "user", "content": PARTS}]},
        [{"message": {"content": "a cat"}}],
    ),
    "reasoning": (
        {"reasoning_effort": "low", "max_completion_tokens": 50},
        [{"message": {"content": "42", "reasoning_content": "six times seven"}}],
    ),
    "cut off": ({"max_tokens": 1}, [{"message": {"content": "he"}, "finish_reason": "length"}]),
    "fields nobody knows": (
        {"x_vendor": {"deep": [1, 2.50, "3"]}, "seed": 7, "metadata": {"k": "v"}, "service_tier": "flex"},
        [{"message": {"content": "ok", "x_note": {"a": [1]}}, "x_score": 0.5}],
    ),
}

CALLS_MADE = {"several choices": 4, "fields nobody knows": 3}
"""Samples are not stored; a stream whose parts nobody knows how to join is not guessed together."""


def choices_of(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    whole = {"finish_reason": "stop", "logprobs": None}
    return [
        {**whole, **one, "index": index, "message": {"role": "assistant", **one["message"]}}
        for index, one in enumerate(answers)
    ]


def chunks_of(answers: list[dict[str, Any]]) -> list[bytes]:
    """The stream of these choices, one delta for each, tool calls by index."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up"}
    frames = []
    for choice in choices_of(answers):
        message, ending = choice.pop("message"), choice.pop("finish_reason")
        if "tool_calls" in message:
            message["tool_calls"] = [{"index": at, **call} for at, call in enumerate(message["tool_calls"])]
        frames.append(frame(head | {"choices": [choice | {"delta": message, "finish_reason": None}]}))
        last = {"index": choice["index"], "delta": {}, "finish_reason": ending}
        frames.append(frame(head | {"choices": [last]}))
    return frames


def script(answers: list[dict[str, Any]]) -> Any:
    async def serve(call: Call) -> None:
        if not call.json.get("stream"):
            whole = completion(choices=choices_of(answers), system_fingerprint="fp", x_more=[1])
            await answer(call, 200, orjson.dumps(whole))
            return
        await start_stream(call)
        for part in [*chunks_of(answers), USAGE_FRAME, DONE]:
            await stream_part(call, part)
        await end_stream(call)

    return serve


def asked(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": "hi"}], **fields}


@pytest.mark.parametrize("name", CASES)
async def test_a_whole_answer_goes_through(runtime: Runtime, upstream: Upstream, name: str) -> None:
    fields, answers = CASES[name]
    upstream.script = script(answers)
    body = orjson.dumps(asked(fields))
    for _ in range(2):
        async with runtime.session.post(f"{runtime.url}/chat/completions", data=body, headers=BEARER) as response:
            told = await response.json()
        assert told["choices"] == choices_of(answers) and told["x_more"] == [1]
    assert upstream.calls[0].json == asked(fields) | {"model": "up"}
    async with client(runtime) as sdk:
        parsed = await sdk.chat.completions.create(**asked({}), extra_body=fields)
    for choice, one in zip(parsed.choices, answers, strict=True):
        assert choice.message.content == one["message"]["content"]
        assert len(choice.message.tool_calls or []) == len(one["message"].get("tool_calls", []))


@pytest.mark.parametrize("name", CASES)
async def test_a_stream_goes_through(runtime: Runtime, upstream: Upstream, name: str) -> None:
    fields, answers = CASES[name]
    upstream.script = script(answers)
    body = orjson.dumps(asked(fields) | {"stream": True})
    for _ in range(2):
        async with runtime.session.post(f"{runtime.url}/chat/completions", data=body, headers=BEARER) as response:
            assert await response.read() == b"".join([*chunks_of(answers), DONE])
    sent = upstream.calls[0].json
    assert sent.pop("stream_options") == {"include_usage": True}
    assert sent == asked(fields) | {"model": "up", "stream": True}
    async with client(runtime) as sdk:
        texts = dict.fromkeys(range(len(answers)), "")
        async for chunk in await sdk.chat.completions.create(**asked({}), stream=True, extra_body=fields):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    assert list(texts.values()) == [one["message"]["content"] or "" for one in answers]


@pytest.mark.parametrize("name", CASES)
async def test_what_was_stored_whole_is_the_same_when_streamed_and_the_other_way(
    runtime: Runtime, upstream: Upstream, name: str
) -> None:
    fields, answers = CASES[name]
    upstream.script = script(answers)
    whole: list[Any] = []
    for streamed_first in (False, True):
        base = asked(fields) | {"user": str(streamed_first)}
        for stream in (streamed_first, not streamed_first):
            body = base | ({"stream": True} if stream else {})
            async with runtime.session.post(f"{runtime.url}/chat/completions", json=body, headers=BEARER) as response:
                data = await response.read()
            if not stream:
                whole.append(orjson.loads(data)["choices"])
    assert len(upstream.calls) == CALLS_MADE.get(name, 2)
    plain = [[{k: v for k, v in choice.items() if v is not None} for choice in choices] for choices in whole]
    assert plain[0] == plain[1]


async def test_numbers_and_texts_reach_the_endpoint_as_they_were_written(runtime: Runtime, upstream: Upstream) -> None:
    body = b'{"messages":[{"role":"user","content":"\\u00e4  b"}], "zero":-0.0, "n":10.000, "e":1E5, "model":"chat"}'
    async with runtime.session.post(f"{runtime.url}/chat/completions", data=body, headers=BEARER) as response:
        assert response.status == 200
    for piece in (b'"\\u00e4  b"', b"-0.0", b"10.000", b"1E5"):
        assert piece in upstream.calls[0].body
