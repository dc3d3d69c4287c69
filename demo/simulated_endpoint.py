"""A simulation of a model endpoint: the OpenAI chat API with made-up answers and a realistic length and duration.

It runs in the cluster by the runtime image's Python, alone, with this file mounted from a ConfigMap. An answer has
``max_tokens`` tokens and takes, before compression by SPEED,

    0.5 s + prompt tokens / 4000 per s + completion tokens x 0.03 s

in the order of a mid-sized hosted model; a prompt has a token per four characters. Without ``max_tokens`` it says 100
tokens and stops by itself. Embeddings take 0.05 s and are alike where texts share words. It knows no language and no
model.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SPEED = float(os.environ.get("SPEED", "1"))
API_KEY = os.environ.get("API_KEY", "")
FIRST_TOKEN_S = 0.5
PROMPT_TOKENS_PER_S = 4000.0
COMPLETION_TOKEN_S = 0.03
TOKENS_PER_FRAME = 16
WHOLE_ANSWER_TOKENS = 100
WORD = " lorem"
EMBEDDING_S = 0.05
DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: ids, sizes in tokens, and how long it takes."""

    identity: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str

    @property
    def head_s(self) -> float:
        return (FIRST_TOKEN_S + self.prompt_tokens / PROMPT_TOKENS_PER_S) / SPEED

    @property
    def tail_s(self) -> float:
        return self.completion_tokens * COMPLETION_TOKEN_S / SPEED

    @property
    def usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }

    def frame(self, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return self.head("chat.completion.chunk") | {"choices": choices}

    def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": WORD * self.completion_tokens}
        choices = [{"index": 0, "message": message, "finish_reason": self.finish_reason}]
        return self.head("chat.completion") | {"choices": choices, "usage": self.usage}

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.identity, "object": kind, "created": int(time.time()), "model": self.model}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """The endpoint as an ASGI application: chats, embeddings, and a list of models that is also the readiness probe."""
    match scope["method"], scope["path"]:
        case "POST", "/v1/chat/completions":
            await chat(scope, await _body(receive), send)
        case "POST", "/v1/embeddings":
            await embed(scope, await _body(receive), send)
        case "GET", "/v1/models":
            card = {"id": "simulated", "object": "model", "owned_by": "simulation"}
            await _send_json(send, HTTPStatus.OK, {"object": "list", "data": [card]})
        case method, path:
            await _send_error(send, HTTPStatus.NOT_FOUND, "unknown_url", f"the simulation has no {method} {path}")


async def chat(scope: Message, body: bytes, send: Send) -> None:
    """Answer one request, whole or as a stream."""
    if not _knows(scope):
        await _refuse_key(send)
        return
    try:
        request = json.loads(body)
        characters = sum(len(str(message["content"])) for message in request["messages"])
        most = request.get("max_completion_tokens") or request.get("max_tokens")
        tokens, finish = (int(most), "length") if most else (WHOLE_ANSWER_TOKENS, "stop")
        answer = Answer(
            f"simulated-{time.monotonic_ns():x}", str(request["model"]), characters // 4 + 1, tokens, finish
        )
    except (ValueError, TypeError, KeyError) as error:
        await _send_error(send, HTTPStatus.BAD_REQUEST, "invalid_request", f"not a chat request: {error}")
        return
    if request.get("stream"):
        await _stream(send, answer, bool((request.get("stream_options") or {}).get("include_usage")))
    else:
        await asyncio.sleep(answer.head_s + answer.tail_s)
        await _send_json(send, HTTPStatus.OK, answer.whole())


async def embed(scope: Message, body: bytes, send: Send) -> None:
    """Embed a text, or a list of them."""
    if not _knows(scope):
        await _refuse_key(send)
        return
    try:
        request = json.loads(body)
        texts = [request["input"]] if isinstance(request["input"], str) else list(request["input"])
        data = [{"object": "embedding", "index": at, "embedding": vector(text)} for at, text in enumerate(texts)]
        answer = {"object": "list", "data": data, "model": str(request["model"])}
    except (ValueError, TypeError, KeyError) as error:
        await _send_error(send, HTTPStatus.BAD_REQUEST, "invalid_request", f"not an embeddings request: {error}")
        return
    tokens = sum(len(text) // 4 + 1 for text in texts)
    await asyncio.sleep(EMBEDDING_S / SPEED)
    await _send_json(send, HTTPStatus.OK, answer | {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}})


def vector(text: str) -> list[float]:
    """The sum of the text's words, each a direction of its own by chance; their order does not count."""
    chances = [random.Random(word) for word in sorted(re.findall(r"\w+", text.lower()))]
    return [sum(chance.gauss(0, 1) for chance in chances) for _ in range(DIMENSIONS)]


def _knows(scope: Message) -> bool:
    return not API_KEY or dict(scope["headers"]).get(b"authorization") == f"Bearer {API_KEY}".encode()


async def _refuse_key(send: Send) -> None:
    await _send_error(send, HTTPStatus.UNAUTHORIZED, "invalid_api_key", "the simulation does not know this key")


async def _stream(send: Send, answer: Answer, with_usage: bool) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
    for wait_s, data in _frames(answer, with_usage):
        await asyncio.sleep(wait_s)
        await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})
    await send({"type": "http.response.body"})


def _frames(answer: Answer, with_usage: bool) -> Iterator[tuple[float, str]]:
    """Wait before each frame, in seconds, and its data."""
    yield answer.head_s, json.dumps(answer.frame({"role": "assistant", "content": ""}, None))
    for begin in range(0, answer.completion_tokens, TOKENS_PER_FRAME):
        size = min(TOKENS_PER_FRAME, answer.completion_tokens - begin)
        yield size * COMPLETION_TOKEN_S / SPEED, json.dumps(answer.frame({"content": WORD * size}, None))
    yield 0, json.dumps(answer.frame({}, answer.finish_reason))
    if with_usage:
        yield 0, json.dumps(answer.head("chat.completion.chunk") | {"choices": [], "usage": answer.usage})
    yield 0, "[DONE]"


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _send_error(send: Send, status: HTTPStatus, code: str, message: str) -> None:
    error = {"message": message, "type": "invalid_request_error", "code": code, "param": None}
    await _send_json(send, status, {"error": error})


async def _send_json(send: Send, status: HTTPStatus, value: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=8080, log_level="warning", access_log=False, lifespan="off")
