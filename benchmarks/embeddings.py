"""How fast does the runtime embed: one by one, in batches, and from its cache?

    python benchmarks/embeddings.py DATA [--model FOLDER]

Questions of ``cache_banking77_stream.jsonl.gz``, through the runtime's embedder as its requests use it: asked one after
the other, each awaited; 32 at once; and seen before. The best of alternating rounds counts, so that other work on
the machine does not decide. Beside it: how late the event loop ran meanwhile, and the memory.

Then the served path: ``POST /v1/embeddings`` of a runtime with accounting in Redis, in front of three endpoints: one
that embeds with the same model on the same cores, one that takes 20 ms for each call, as a hosted one does at best, and
one that takes no time, which leaves the product's own part. Compared are questions sent one after the other, each
awaited, with 32 in one request; and requests answered before, from the memory of the agent that was asked and by
another agent from Redis, with the same requests when they were new: one question, 32 questions, one passage of 200
words. No answer from a cache is faster than HTTP: the time of a request to /healthz stands beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import orjson
from aiohttp import web
from soak import KEY, free_port, running_redis, running_runtime

from agent_runtime.semantic.embedder import BATCH, Embedder, Encoder

ROUNDS = 12
PASSAGE_QUESTIONS = 40
NO_VECTOR = np.random.default_rng(0).normal(size=384).astype(np.float32)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("build/encoder"),
        help="folder of model.onnx (make encoder)",
    )
    options = parser.parse_args()
    stream = gzip.decompress((options.data / "cache_banking77_stream.jsonl.gz").read_bytes())
    texts = [json.loads(line)["q"] for line in stream.splitlines()]

    before_mib = resident_mib()
    embedder = Embedder(Encoder(options.model), cache_bytes=16 * 2**20)
    await asyncio.gather(*(embedder.embed(text) for text in texts[:BATCH]))
    late = asyncio.create_task(lateness())
    singles, batches, cached = [], [], []
    place = BATCH
    for _ in range(ROUNDS):
        part, place = texts[place : place + BATCH], place + BATCH
        began = time.perf_counter()
        for text in part:
            await embedder.embed(text)
        singles.append((time.perf_counter() - began) / BATCH)
        part, place = texts[place : place + BATCH], place + BATCH
        began = time.perf_counter()
        await asyncio.gather(*(embedder.embed(text) for text in part))
        batches.append((time.perf_counter() - began) / BATCH)
        began = time.perf_counter()
        for text in part:
            await embedder.embed(text)
        cached.append((time.perf_counter() - began) / BATCH)
    late.cancel()
    single, batch, known = min(singles), min(batches), min(cached)
    print(f"one by one        {single * 1e3:8.3f} ms a text")
    print(f"{BATCH} at once        {batch * 1e3:8.3f} ms a text, {single / batch:.2f} times as fast")
    print(f"seen before       {known * 1e3:8.4f} ms a text, {single / known:.0f} times as fast")
    print(f"event loop late   {1e3 * max(LATE):8.1f} ms at most, {1e3 * sorted(LATE)[len(LATE) // 2]:.2f} ms median")
    print(f"memory            {before_mib:8.0f} MiB before, {resident_mib():.0f} MiB after, peak {peak_mib():.0f} MiB")
    await served("with this model on the same cores", texts[place:], embedder)
    await served("that takes 20 ms a call", texts[place:], pause_s=0.02)
    await served("that takes no time", texts[place:])
    embedder.close()


async def served(name: str, texts: list[str], embedder: Embedder | None = None, pause_s: float = 0.0) -> None:
    """Measure over HTTP. Without an embedder the endpoint answers after the pause."""

    async def embed(request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())["input"]
        inputs = [asked] if isinstance(asked, str) else asked
        vectors = [NO_VECTOR] * len(inputs)
        if embedder is not None:
            vectors = await embedder.run(inputs, lambda found: found)
        if pause_s:
            await asyncio.sleep(pause_s)
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
        answer = {"object": "list", "data": data, "model": "m", "usage": usage}
        body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        return web.Response(body=body, content_type="application/json")

    application = web.Application(client_max_size=2**24)
    application.router.add_post("/v1/embeddings", embed)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model = {"kind": "embeddings", "endpoint": f"http://127.0.0.1:{runner.addresses[0][1]}/v1"}
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with tempfile.TemporaryDirectory(prefix="embeddings-") as folder:
        scratch = Path(folder)
        async with (
            running_redis(scratch) as redis_url,
            running_runtime(scratch, urls[0], model, redis_url),
            running_runtime(scratch, urls[1], model, redis_url),
        ):
            await compare(await client(urls[0]), await client(urls[1]), name, texts)
    await runner.cleanup()


class Client:
    """Requests over one connection, without what a client library adds to each."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def get(self, path: str) -> float:
        """Seconds a GET took."""
        return (await self._send(b"GET", path, b"", ""))[0]

    async def embed(self, asked: str | list[str], control: str = "max-age=7200") -> tuple[float, str]:
        """Seconds the answer took, and which cache it came from."""
        return await self._send(b"POST", "/v1/embeddings", orjson.dumps({"model": "m", "input": asked}), control)

    async def _send(self, method: bytes, path: str, body: bytes, control: str) -> tuple[float, str]:
        began = time.perf_counter()
        lines = f"{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\nCache-Control: {control}\r\n"
        self._writer.write(method + b" " + lines.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        await self._reader.readexactly(int(headers["content-length"]))
        return time.perf_counter() - began, headers.get("x-agentpool-cache", "")


async def client(url: str) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2])))


async def compare(agent: Client, other_agent: Client, name: str, texts: list[str]) -> None:
    async def new(asked: str | list[str]) -> float:
        seconds, cache = await agent.embed(asked)
        assert cache == "miss", cache
        return seconds

    async def again(asked: str | list[str]) -> float:
        seconds, cache = await agent.embed(asked)
        assert cache == "l1", cache
        return seconds

    async def elsewhere(asked: str | list[str]) -> float | None:
        for _ in range(200):  # an answer reaches Redis a moment after its caller; a slow Redis does without it
            seconds, cache = await other_agent.embed(asked, "only-if-cached")
            if cache == "l2":
                return seconds
        return None

    best: dict[str, float] = {}

    def note(what: str, seconds: Sequence[float | None]) -> None:
        if known := [one for one in seconds if one is not None]:
            best[what] = min(best.get(what, 1e9), 1e3 * sum(known) / len(known))

    for number in range(ROUNDS):
        one, other = (texts[(2 * number + half) * BATCH :][:BATCH] for half in (0, 1))
        passage = passage_of(texts[number * PASSAGE_QUESTIONS :])
        asked: list[tuple[str, Sequence[str | list[str]]]] = [("one", one), ("batch", [other]), ("passage", [passage])]
        for what, inputs in asked:
            note(what, [await new(text) for text in inputs])
            note(what + " again", [await again(text) for text in inputs for _ in range(BATCH // len(inputs))])
            note(what + " elsewhere", [await elsewhere(text) for text in inputs])
        note("health", [await agent.get("/healthz") for _ in range(BATCH)])
    print(f"over HTTP, an endpoint {name}; a request to /healthz takes {best['health']:.2f} ms")
    each = best["batch"] / BATCH
    print(f"  {BATCH} in a request    {each:8.3f} ms a text, one by one {best['one']:8.3f} ms:", end="")
    print(f" {best['one'] / each:.1f} times as fast")
    for what, said in (("one", "1 question"), ("batch", f"{BATCH} questions"), ("passage", "1 passage")):
        print(f"  {said:<14} new {best[what]:8.2f} ms", end="")
        for place, where in ((" again", "from memory"), (" elsewhere", "from Redis")):
            print(f", {where} {best[what + place]:6.2f} ms: {best[what] / best[what + place]:.0f} times", end="")
        print(" as fast")


def passage_of(questions: list[str]) -> str:
    """Two hundred words."""
    return " ".join(" ".join(questions[:PASSAGE_QUESTIONS]).split()[:200])


LATE: list[float] = []


async def lateness() -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.002)
        LATE.append(time.perf_counter() - began - 0.002)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    asyncio.run(main())
