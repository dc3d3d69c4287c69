"""How fast does the runtime embed: one by one, in batches, and from its cache?

    python benchmarks/embeddings.py DATA [--model FOLDER]

Questions of ``cache_banking77_stream.jsonl.gz``, through the runtime's embedder as its requests use it: asked one after
the other, each awaited; 32 at once; and seen before. The best of alternating rounds counts, so that other work on
the machine does not decide. Beside it: how late the event loop ran meanwhile, and the memory.

Then the served path: ``POST /v1/embeddings`` of a runtime with accounting in Redis, in front of three endpoints: one
that embeds with the same model on the same cores, one that takes 20 ms for each call, as a hosted one does at best, and
one that takes no time, which leaves the product's own part. Compared are questions sent one after the other, each
awaited, with 32 in one request; and requests answered before, from the runtime's cache (in Redis, where embeddings are
kept unless the pool says otherwise), with the same requests when they were new: one question, 32 questions, one passage
of 200 words. No answer from a cache is faster than HTTP: the time of a request to /healthz stands beside them.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import aiohttp
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
    url = f"http://127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="embeddings-") as folder:
        scratch = Path(folder)
        async with (
            running_redis(scratch) as redis_url,
            running_runtime(scratch, url, model, redis_url),
            aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {KEY}"}) as session,
        ):
            await compare(session, name, texts)
    await runner.cleanup()


async def compare(session: aiohttp.ClientSession, name: str, texts: list[str]) -> None:
    async def post(asked: str | list[str]) -> tuple[float, str]:
        began = time.perf_counter()
        async with session.post("/v1/embeddings", json={"model": "m", "input": asked}) as reply:
            assert reply.status == 200, await reply.text()
            await reply.read()
            return time.perf_counter() - began, reply.headers["x-agentpool-cache"]

    async def new(asked: str | list[str]) -> float:
        seconds, cache = await post(asked)
        assert cache == "miss", cache
        return seconds

    async def again(asked: str | list[str]) -> float:
        while True:  # an answer reaches Redis a moment after its caller
            seconds, cache = await post(asked)
            if cache == "l2":
                return seconds

    async def health() -> float:
        began = time.perf_counter()
        async with session.get("/healthz") as reply:
            await reply.read()
        return time.perf_counter() - began

    best: dict[str, float] = {}

    def note(what: str, seconds: list[float]) -> None:
        best[what] = min(best.get(what, 1e9), sum(seconds) / len(seconds))

    for number in range(ROUNDS):
        one, other = (texts[(2 * number + half) * BATCH :][:BATCH] for half in (0, 1))
        passage = passage_of(texts[number * PASSAGE_QUESTIONS :])
        note("one", [await new(text) for text in one])
        note("one again", [await again(text) for text in one])
        note("batch", [await new(other)])
        note("batch again", [await again(other) for _ in range(3)])
        note("passage", [await new(passage)])
        note("passage again", [await again(passage) for _ in range(3)])
        note("health", [await health() for _ in range(BATCH)])
    milliseconds = {what: 1e3 * seconds for what, seconds in best.items()}
    print(f"over HTTP, an endpoint {name}; a request to /healthz takes {milliseconds['health']:.2f} ms")
    each = milliseconds["batch"] / BATCH
    print(f"  {BATCH} in a request    {each:8.3f} ms a text, one by one {milliseconds['one']:8.3f} ms:", end="")
    print(f" {milliseconds['one'] / each:.1f} times as fast")
    for what, said in (("one", "1 question"), ("batch", f"{BATCH} questions"), ("passage", "1 passage")):
        new, again = milliseconds[what], milliseconds[what + " again"]
        print(f"  {said:<14} new {new:8.2f} ms, from the cache {again:6.2f} ms: {new / again:.0f} times as fast")


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
