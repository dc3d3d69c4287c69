"""How fast does the runtime embed: one by one, in batches, and from its cache?

    python benchmarks/embeddings.py DATA [--model FOLDER]

Questions of ``cache_banking77_stream.jsonl.gz``, through the runtime's embedder as its requests use it: asked one after
the other, each awaited; 32 at once; and seen before. The best of alternating rounds counts, so that other work on
the machine does not decide. Beside it: how late the event loop ran meanwhile, and the memory.

Then the served path: ``POST /v1/embeddings`` of a runtime with accounting in Redis, in front of an endpoint that embeds
with the same model and of one that takes no time. 32 requests of one text, one after the other; one request of 32; and
32 seen before, from the runtime's cache.
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
from aiohttp import web
from soak import KEY, free_port, running_redis, running_runtime

from agent_runtime.semantic.embedder import BATCH, Embedder, Encoder

ROUNDS = 12
NO_VECTOR = [0.0] * 384


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
    await served(embedder, "this model", texts[place:])
    await served(None, "an endpoint that takes no time", texts[place:])
    embedder.close()


async def served(embedder: Embedder | None, name: str, texts: list[str]) -> None:
    """Measure over HTTP. Without an embedder the endpoint answers at once."""

    async def embed(request: web.Request) -> web.Response:
        asked = (await request.json())["input"]
        inputs = [asked] if isinstance(asked, str) else asked
        vectors = [NO_VECTOR] * len(inputs)
        if embedder is not None:
            vectors = await embedder.run(inputs, lambda found: [vector.tolist() for vector in found])
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
        return web.json_response({"object": "list", "data": data, "model": "m", "usage": usage})

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
    async def post(asked: str | list[str]) -> None:
        async with session.post("/v1/embeddings", json={"model": "m", "input": asked}) as reply:
            assert reply.status == 200, await reply.text()
            await reply.read()

    singles, batches, cached = [], [], []
    parts = [texts[start : start + BATCH] for start in range(0, 2 * ROUNDS * BATCH, BATCH)]
    for one, other in zip(parts[::2], parts[1::2], strict=True):
        for taken in (singles, cached):
            began = time.perf_counter()
            for text in one:
                await post(text)
            taken.append((time.perf_counter() - began) / BATCH)
        began = time.perf_counter()
        await post(other)
        batches.append((time.perf_counter() - began) / BATCH)
    single, batch, known = min(singles), min(batches), min(cached)
    print(f"over HTTP, {name}:")
    print(f"  one by one      {single * 1e3:8.3f} ms a text")
    print(f"  {BATCH} in a request {batch * 1e3:8.3f} ms a text, {single / batch:.2f} times as fast")
    print(f"  from the cache  {known * 1e3:8.3f} ms a text, {single / known:.2f} times as fast")


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
