"""A runtime with a semantic cache in this process, the scripted endpoints of its models, and a client."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from unittest.mock import patch
from zlib import crc32

import aiohttp
import numpy as np
from aiohttp import web

from agent_runtime.app import App
from agent_runtime.settings import load_process, parse_settings


class Model:
    """An endpoint that answers by subject and counts its calls."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.version = 1

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        question = body["messages"][-1]["content"]
        self.questions.append(question)
        subject = "hours" if "hours" in question or "open" in question else "password"
        message = {"role": "assistant", "content": f"All about {subject} in edition {self.version}."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


class Embeddings:
    """Stands in for an embeddings endpoint: a text is the sum of its words, each a direction of its own by chance.

    ``says`` replaces its next answers; ``go`` holds them up.
    """

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.dimensions = 64
        self.model = "up-embed"
        self.says: tuple[int, bytes] | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.asked = asyncio.Event()

    def vector(self, text: str) -> list[float]:
        words = [np.random.default_rng(crc32(word.encode())) for word in text.lower().split()]
        return [float(part) for part in sum(chance.normal(size=self.dimensions) for chance in words)]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert (body["model"], request.headers["Authorization"]) == ("up-embed", "Bearer sk-embed")
        texts = body["input"]
        self.batches.append(texts)
        self.asked.set()
        says, model, vectors = self.says, self.model, [self.vector(text) for text in texts]
        await self.go.wait()
        if says is not None:
            return web.Response(status=says[0], body=says[1], content_type="application/json")
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        usage = {"prompt_tokens": 7 * len(texts), "total_tokens": 7 * len(texts)}
        return web.json_response({"object": "list", "data": data[::-1], "model": model, "usage": usage})


@asynccontextmanager
async def running(encoder_dir, chance=0.99, cache=None, embeddings=None, **semantic):
    """A runtime, its endpoint, and a client. ``chance`` decides whether a hit is given up to learn."""
    model = Model()
    upstream = web.Application()
    if embeddings is not None:
        upstream.router.add_post("/v1/embeddings", embeddings.answer)
    upstream.router.add_post("/v1/chat/completions", model.answer)
    runner = web.AppRunner(upstream)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = parse_settings(
        {
            "models": [
                {"name": "m", "endpoint": f"http://127.0.0.1:{port}/v1"},
                {
                    "name": "embed",
                    "kind": "embeddings",
                    "endpoint": f"http://127.0.0.1:{port}/v1",
                    "upstreamModel": "up-embed",
                    "apiKeyEnv": "EMBED_KEY",
                    "price": {"inputPerMillion": "1"},
                },
            ],
            "connections": {"retries": 0},
            "cache": {"semantic": {"enabled": True} | semantic} | (cache or {}),
        },
        refuse_unknown=True,
    )
    environ = {"AGENTPOOL_API_KEY": "one", "AGENTPOOL_PORT": "0", "AGENTPOOL_ENCODER_DIR": str(encoder_dir)}
    environ["EMBED_KEY"] = "sk-embed"
    try:
        with patch("agent_runtime.caching.random.random", return_value=chance):
            app = App(settings, load_process(environ), environ)
        await app.start()
        url, headers = f"http://127.0.0.1:{app.server.port}", {"Authorization": "Bearer one"}
        try:
            async with aiohttp.ClientSession(url, headers=headers) as client:
                caller = Client(client)
                caller.app = app
                yield model, caller
        finally:
            await app.drain()
    finally:
        await runner.cleanup()


class Client:
    """A caller of the runtime."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.app: App

    async def ask(self, question: str, **fields) -> tuple[str, str]:
        """What the cache did, and the text of the answer."""
        body = {"model": "m", "messages": [{"role": "user", "content": question}]} | fields
        async with self.session.post("/v1/chat/completions", json=body) as reply:
            assert reply.status == 200, await reply.text()
            if not fields.get("stream"):
                text = (await reply.json())["choices"][0]["message"]["content"]
            else:
                lines = [line[6:] for line in (await reply.text()).splitlines() if line.startswith("data: {")]
                deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
                text = "".join(delta.get("content") or "" for delta in deltas)
            status = reply.headers["cache-status"]
            assert ("hit" in status) == (reply.headers["x-agentpool-cache"] in ("l1", "semantic", "precomputed"))
            return reply.headers["x-agentpool-cache"], text

    async def post(self, path: str, body: object) -> tuple[int, dict]:
        async with self.session.post(path, json=body) as reply:
            return reply.status, await reply.json()

    async def metric(self, line: str) -> float:
        async with self.session.get("/metrics") as reply:
            found = [row for row in (await reply.text()).splitlines() if row.startswith(line + " ")]
            return float(found[0].rpartition(" ")[2]) if found else 0.0

    async def known(self, count: int) -> None:
        """Wait until so many questions are learned."""
        await self.until("agentpool_runtime_semantic_questions", count)

    async def until(self, line: str, value: float) -> None:
        """Wait until a metric has this value."""
        async with asyncio.timeout(60):
            while await self.metric(line) != value:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def taught(client: Client) -> None:
    """Three questions asked upstream: two about passwords, one about opening hours."""
    for number, question in enumerate(
        ["how do i reset my password", "please can you reset my password", "what are your opening hours"], start=1
    ):
        assert (await client.ask(question))[0] == "miss"
        await client.known(number)
