"""How are many requests answered in one call?

``POST /v1/batch`` takes the lines of an OpenAI batch file as a list and gives the lines of its output file at once.
Every item goes the way of a request of its own, with its own cache entry, price and error: one that fails fails alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from agent_runtime.cache.flights import Caller
from agent_runtime.errors import ApiError, error_object
from agent_runtime.http.protocol import CALLER
from agent_runtime.requests import parse_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

AT_ONCE = 5
"""Items of one model that are worked on at once, so that a batch leaves slots to others."""
MAX_ITEMS = 1000

_OWN_HEADERS = (b"content-length", b"transfer-encoding", b"x-request-id")
"""Headers of the batch that mean nothing for an item."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch."""

    custom_id: str
    url: str
    model: str
    body: bytes
    problem: str = ""
    """Why it cannot be tried; empty when it can."""


def parse_batch(body: bytes, urls: Collection[str]) -> list[Item]:
    """The items of a batch. Raises ApiError 400 when the whole of it cannot be read."""
    fields = parse_json(body)
    requests = fields.get("requests") if isinstance(fields, dict) else None
    if not isinstance(requests, list) or not 1 <= len(requests) <= MAX_ITEMS:
        raise _bad(f"requests must be a list of 1 to {MAX_ITEMS} requests, each with custom_id and body")
    items = [_item(at, request, urls) for at, request in enumerate(requests)]
    if len({item.custom_id for item in items}) != len(items):
        raise _bad("two requests have the same custom_id: give each one of its own")
    return items


def _item(at: int, request: object, urls: Collection[str]) -> Item:
    if not isinstance(request, dict) or not isinstance(request.get("body"), dict):
        raise _bad(f"requests[{at}] must be an object with body, the request as it would be sent alone")
    custom_id = request.get("custom_id", str(at))
    url = request.get("url", "/v1/chat/completions")
    if not isinstance(custom_id, str) or not isinstance(url, str):
        raise _bad(f"requests[{at}].custom_id and url must be texts")
    body = request["body"]
    problem = ""
    if url not in urls:
        problem = f"url must be one of {', '.join(urls)}"
    elif body.get("stream"):
        problem = "an answer in a batch cannot be streamed: leave stream out"
    return Item(custom_id, url, str(body.get("model")), orjson.dumps(body), problem)


async def answer_batch(app: App, scope: Scope, items: list[Item]) -> bytes:
    """The answers as JSON, in the order of the items."""
    places: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
    callers: list[Caller] = []
    client: Caller = scope[CALLER]
    end = client.on_leave

    def leave() -> None:
        for caller in callers:
            caller.leave()
        if end is not None:
            end()

    async def work(item: Item) -> bytes:
        async with places[item.model]:
            caller = Caller()
            task = asyncio.current_task()
            caller.on_leave = task.cancel if task is not None else None
            callers.append(caller)
            return await _answer(app, scope, item, caller)

    client.on_leave = leave
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(item)) for item in items]
    return b'{"object":"list","data":[' + b",".join(task.result() for task in tasks) + b"]}"


async def _answer(app: App, scope: Scope, item: Item, caller: Caller) -> bytes:
    """One line of the output: the answer the item would have got alone."""
    if item.problem:
        return _line(item, 400, "", error_object(item.problem, "invalid_request_error", "invalid_batch_item"))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": item.body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [header for header in scope["headers"] if header[0] not in _OWN_HEADERS]
    await app({**scope, "path": item.url, "headers": headers, CALLER: caller}, receive, send)
    if not sent:
        raise asyncio.CancelledError  # the client left, and nobody else waits for this item
    told = dict(sent[0]["headers"])
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return _line(item, sent[0]["status"], told.get(b"x-agentpool-request-id", b"").decode(), body)


def _line(item: Item, status: int, request_id: str, body: bytes) -> bytes:
    response = {"status_code": status, "request_id": request_id, "body": orjson.Fragment(body)}
    return orjson.dumps({"custom_id": item.custom_id, "response": response, "error": None})


def _bad(message: str) -> ApiError:
    return ApiError(400, "invalid_batch", message)
