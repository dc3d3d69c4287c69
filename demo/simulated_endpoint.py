"""A simulation of a model endpoint: the OpenAI chat API with made-up answers and a realistic length and duration.

It runs in the cluster by the runtime image's Python, alone, with this file mounted from a ConfigMap. An answer has
``max_tokens`` tokens and takes, before compression by SPEED,

    0.5 s + prompt tokens / 4000 per s + completion tokens x 0.03 s

in the order of a mid-sized hosted model; a prompt has a token per four characters. It knows no language and no model.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

SPEED = float(os.environ.get("SPEED", "1"))
API_KEY = os.environ.get("API_KEY", "")
FIRST_TOKEN_S = 0.5
PROMPT_TOKENS_PER_S = 4000.0
COMPLETION_TOKEN_S = 0.03
TOKENS_PER_FRAME = 16
WORD = " lorem"


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: ids, sizes in tokens, and how long it takes."""

    identity: str
    model: str
    prompt_tokens: int
    completion_tokens: int

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
        choices = [{"index": 0, "message": message, "finish_reason": "length"}]
        return self.head("chat.completion") | {"choices": choices, "usage": self.usage}

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.identity, "object": kind, "created": int(time.time()), "model": self.model}


async def chat(request: Request) -> Response:
    """POST /v1/chat/completions."""
    if API_KEY and request.headers.get("authorization") != f"Bearer {API_KEY}":
        return _error(HTTPStatus.UNAUTHORIZED, "invalid_api_key", "the simulated endpoint does not know this key")
    try:
        body = await request.json()
        characters = sum(len(str(message["content"])) for message in body["messages"])
        tokens = int(body.get("max_completion_tokens") or body.get("max_tokens") or 100)
        answer = Answer(f"simulated-{time.monotonic_ns():x}", str(body["model"]), characters // 4 + 1, tokens)
    except (ValueError, TypeError, KeyError) as error:
        return _error(HTTPStatus.BAD_REQUEST, "invalid_request", f"not a chat request: {error}")
    if body.get("stream"):
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return StreamingResponse(_frames(answer, with_usage), media_type="text/event-stream")
    await asyncio.sleep(answer.head_s + answer.tail_s)
    return JSONResponse(answer.whole())


async def _frames(answer: Answer, with_usage: bool) -> AsyncIterator[str]:
    await asyncio.sleep(answer.head_s)
    yield _event(answer.frame({"role": "assistant", "content": ""}, None))
    left = answer.completion_tokens
    while left:
        size = min(TOKENS_PER_FRAME, left)
        await asyncio.sleep(size * COMPLETION_TOKEN_S / SPEED)
        yield _event(answer.frame({"content": WORD * size}, None))
        left -= size
    yield _event(answer.frame({}, "length"))
    if with_usage:
        yield _event(answer.head("chat.completion.chunk") | {"choices": [], "usage": answer.usage})
    yield "data: [DONE]\n\n"


def _event(frame: dict[str, Any]) -> str:
    return f"data: {json.dumps(frame)}\n\n"


def _error(status: HTTPStatus, code: str, message: str) -> JSONResponse:
    error = {"message": message, "type": "invalid_request_error", "code": code, "param": None}
    return JSONResponse({"error": error}, status)


async def models(_: Request) -> Response:
    """GET /v1/models; also the readiness probe."""
    return JSONResponse({"object": "list", "data": [{"id": "simulated", "object": "model", "owned_by": "simulation"}]})


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=8080, log_level="warning", access_log=False)
