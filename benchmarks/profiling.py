"""What does a profile cost an agent while it is taken, and what when it is not?

    python benchmarks/profiling.py [--rounds 5] [--svg FILE]

The processor time of a runtime for 1,000 answers from a scripted endpoint, in alternating rounds: nothing asked for, a
CPU profile running, a memory profile running. The ratios are of the medians. With ``--svg`` a flame graph of the
runtime at work is written to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path

import aiohttp
from soak import KEY, Endpoint, free_port, running_redis, running_runtime

ANSWERS = 1000
CONNECTIONS = 16


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="profiling-") as folder:
        scratch, url = Path(folder), f"http://127.0.0.1:{free_port()}"
        upstream = await Endpoint().start()
        async with (
            running_redis(scratch) as redis_url,
            running_runtime(scratch, url, {"endpoint": upstream}, redis_url) as pid,
        ):
            headers = {"Authorization": f"Bearer {KEY}"}
            async with aiohttp.ClientSession(url, headers=headers) as session:
                await measure(session, pid, options.rounds, options.svg)


async def measure(session: aiohttp.ClientSession, pid: int, rounds: int, svg: Path | None) -> None:
    spent: dict[str, list[float]] = {"none": [], "cpu": [], "memory": []}
    await answers(session, "warm-up")
    for number in range(rounds):
        for kind, values in spent.items():
            profile = asyncio.create_task(taken(session, kind)) if kind != "none" else None
            await asyncio.sleep(0.3)
            before_s = cpu_s(pid)
            await answers(session, f"{kind} {number}")
            values.append(cpu_s(pid) - before_s)
            if profile is not None:
                drawn = await profile
                if kind == "cpu" and svg is not None:
                    await asyncio.to_thread(svg.write_bytes, drawn)
    base = statistics.median(spent["none"])
    for kind, values in spent.items():
        middle = statistics.median(values)
        print(f"profile {kind:7} {middle:6.3f} s of processor for {ANSWERS} answers, {middle / base:5.2f} times")


async def taken(session: aiohttp.ClientSession, kind: str) -> bytes:
    async with session.get(f"/debug/profile/{kind}?seconds=6") as reply:
        assert reply.status == 200, await reply.text()
        return await reply.read()


async def answers(session: aiohttp.ClientSession, prefix: str) -> None:
    numbers = iter(range(ANSWERS))

    async def ask() -> None:
        for number in numbers:
            body = {"model": "m", "messages": [{"role": "user", "content": f"{prefix} {number}"}]}
            async with session.post("/v1/chat/completions", json=body) as reply:
                assert reply.status == 200, await reply.text()
                await reply.read()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))


def cpu_s(pid: int) -> float:
    """Processor seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    asyncio.run(main())
