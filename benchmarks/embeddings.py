"""How fast does the runtime embed: one by one, in batches, and from its cache?

    python benchmarks/embeddings.py DATA [--model FOLDER]

Questions of ``cache_banking77_stream.jsonl.gz``, through the runtime's embedder as its requests use it: asked one after
the other, each awaited; 32 at once; and seen before. The best of alternating rounds counts, so that other work on
the machine does not decide. Beside it: how late the event loop ran meanwhile, and the memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agent_runtime.semantic.embedder import BATCH, Embedder, Encoder

ROUNDS = 12


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
    embedder.close()


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
