"""Does a runtime grow while it works for an hour?

    python benchmarks/soak.py MINUTES [--rate 50]

A runtime with its default settings and a real Redis in front of a scripted endpoint, under a mix of answers from the
cache, new ones, streams, callers who leave in the middle, failing calls and bad requests. Printed: resident memory and
open files after the start, after the warm-up (the first sixth: caches fill) and at the end, medians of a minute each.
The exit status is 1 when memory has grown by 1 % or more since the warm-up, or a caller got what it should not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson
import yaml
from aiohttp import web

ROOT = Path(__file__).resolve().parent.parent
KEY = "sk-soak"
MOST_GROWTH = 0.01
SAMPLE_S = 2.0
FRAMES = 20


class Endpoint:
    """The scripted model endpoint: what it does stands in the question."""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        question = body["messages"][-1]["content"]
        if question.startswith("fail"):
            return web.json_response({"error": {"message": "scripted"}}, status=500)
        if question.startswith("reset"):
            assert request.transport is not None
            request.transport.abort()
        await asyncio.sleep(0.01)
        if not body.get("stream"):
            text = "word " * random.randint(20, 400)
            message = {"role": "assistant", "content": text}
            usage = {"prompt_tokens": 50, "completion_tokens": 100, "total_tokens": 150}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        with contextlib.suppress(ConnectionError):
            for number in range(FRAMES):
                choice = {"index": 0, "delta": {"content": f"word{number} "}, "finish_reason": None}
                await stream.write(b"data: " + orjson.dumps({"id": "c", "choices": [choice]}) + b"\n\n")
                await asyncio.sleep(0.005)
            done = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
            await stream.write(b"data: " + orjson.dumps(done) + b"\n\ndata: [DONE]\n\n")
        return stream

    async def start(self) -> str:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self.chat)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


class Callers:
    """The mix. Every kind knows the status it must get."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url + "/v1/chat/completions"
        self._number = 0
        self.answers: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.kinds: list[tuple[str, float, Callable[[], Awaitable[None]]]] = [
            ("asked before", 0.5, lambda: self._ask("asked before", f"popular {int(random.paretovariate(0.8))}", 200)),
            ("new", 0.2, lambda: self._ask("new", self._new("new"), 200)),
            ("stream", 0.14, self._stream),
            ("stream left", 0.06, self._leave),
            ("endpoint fails", 0.04, lambda: self._ask("endpoint fails", self._new("fail"), 502, 500, 503)),
            ("endpoint resets", 0.02, lambda: self._ask("endpoint resets", self._new("reset"), 502, 503)),
            ("bad request", 0.04, lambda: self._ask("bad request", "", 400)),
        ]

    async def one(self) -> None:
        """One request of a kind by chance."""
        name, _, call = random.choices(self.kinds, [weight for _, weight, _ in self.kinds])[0]
        try:
            await call()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.wrong[f"{name}: {error!r}"] += 1

    def _new(self, word: str) -> str:
        self._number += 1
        return f"{word} {self._number} " + "of the matter " * random.randint(1, 60)

    def _post(self, question: str, **fields: object) -> aiohttp.client._RequestContextManager:
        messages = [{"role": "user", "content": question}] if question else "nothing"
        return self._session.post(self._url, json={"model": "m", "messages": messages} | fields)

    async def _ask(self, name: str, question: str, *statuses: int) -> None:
        async with self._post(question) as reply:
            await reply.read()
            self._note(name, reply.status, reply.status in statuses)

    async def _stream(self) -> None:
        async with self._post(self._new("stream"), stream=True) as reply:
            self._note("stream", reply.status, (await reply.read()).endswith(b"data: [DONE]\n\n"))

    async def _leave(self) -> None:
        async with self._post(self._new("left"), stream=True) as reply:
            for _ in range(random.randint(0, FRAMES)):
                await reply.content.readline()
            self._note("stream left", reply.status, reply.status == 200)
            reply.close()

    def _note(self, name: str, status: int, expected: bool) -> None:
        self.answers[name] += 1
        if not expected:
            self.wrong[f"{name}: {status}"] += 1


class Watch:
    """Samples of a process: seconds since the start, resident KiB, open files."""

    def __init__(self, pid: int) -> None:
        self._proc, self._began_s = Path("/proc") / str(pid), time.monotonic()
        self.samples: list[tuple[float, int, int]] = []

    async def forever(self) -> None:
        while True:
            status = (self._proc / "status").read_text()
            resident = int(status.split("VmRSS:")[1].split()[0])
            self.samples.append(
                (time.monotonic() - self._began_s, resident, sum(1 for _ in (self._proc / "fd").iterdir()))
            )
            await asyncio.sleep(SAMPLE_S)

    def minute_before(self, at_s: float) -> tuple[float, float]:
        """Median resident MiB and open files of the minute before; of the first sample where there is none."""
        part = [sample for sample in self.samples if at_s - 60 <= sample[0] <= at_s] or self.samples[:1]
        return statistics.median(one[1] for one in part) / 1024, statistics.median(one[2] for one in part)


async def soak(minutes: float, rate: float, scratch: Path) -> int:
    url, upstream = f"http://127.0.0.1:{free_port()}", await Endpoint().start()
    async with (
        running_redis(scratch) as redis_url,
        running_runtime(scratch, url, {"endpoint": upstream}, redis_url) as pid,
    ):
        watch = Watch(pid)
        connector = aiohttp.TCPConnector(limit=200)
        headers = {"Authorization": f"Bearer {KEY}"}
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
            callers = Callers(session, url)
            sampling = asyncio.create_task(watch.forever())
            await load(callers, watch, minutes, rate)
            await asyncio.sleep(SAMPLE_S)
            sampling.cancel()
    return verdict(watch, callers, minutes)


async def load(callers: Callers, watch: Watch, minutes: float, rate: float) -> None:
    """Requests at a rate, whether or not those before are answered; a line every five minutes."""
    began_s = time.monotonic()
    open_calls: set[asyncio.Task[None]] = set()
    next_s, told_s = began_s, began_s
    while next_s < began_s + minutes * 60:
        await asyncio.sleep(max(next_s - time.monotonic(), 0))
        call = asyncio.create_task(callers.one())
        open_calls.add(call)
        call.add_done_callback(open_calls.discard)
        next_s += random.expovariate(rate)
        if next_s >= told_s + 300:
            told_s += 300
            memory, files = watch.minute_before(told_s - began_s)
            print(f"{(told_s - began_s) / 60:4.0f} min  {memory:7.2f} MiB  {files:.0f} files", flush=True)
    await asyncio.gather(*open_calls)


def verdict(watch: Watch, callers: Callers, minutes: float) -> int:
    """Print the figures; 1 when they are not good."""
    end_s = minutes * 60
    start, warm, end = watch.minute_before(0), watch.minute_before(end_s / 6), watch.minute_before(end_s)
    growth = end[0] / warm[0] - 1
    for name, (memory, files) in (("start", start), ("warm", warm), ("end", end)):
        print(f"{name:6} {memory:7.2f} MiB  {files:.0f} open files")
    print(
        f"growth after the warm-up {growth:+.2%} in {minutes * 5 / 6:.0f} min, {sum(callers.answers.values())} answers"
    )
    print("answers: " + ", ".join(f"{name} {count}" for name, count in callers.answers.most_common()))
    print(f"not as expected: {dict(callers.wrong) or 'none'}")
    return int(growth >= MOST_GROWTH or bool(callers.wrong))


@contextlib.asynccontextmanager
async def running_redis(scratch: Path):  # type: ignore[no-untyped-def]
    program, port = shutil.which("redis-server"), free_port()
    if program is None:
        raise SystemExit("redis-server is not installed: run make install")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    quiet = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(program, *options, cwd=scratch, stdout=quiet)
    try:
        await reachable(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        await server.wait()


@contextlib.asynccontextmanager
async def running_runtime(scratch: Path, url: str, model: dict[str, object], redis_url: str):  # type: ignore[no-untyped-def]
    port = url.rpartition(":")[2]
    price = {"inputPerMillion": "1", "outputPerMillion": "2"}
    # The calls that fail are part of the mix: they must not keep the others from the one endpoint there is.
    connections = {"retries": 1, "breaker": {"failures": 1000}}
    settings = {"models": [{"name": "m", "price": price} | model], "connections": connections}
    (scratch / "runtime.yaml").write_text(yaml.safe_dump(settings))
    own = {"AGENTPOOL_PORT": port, "AGENTPOOL_API_KEY": KEY, "AGENTPOOL_REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
    own["AGENTPOOL_CONCURRENCY"] = "64"
    command = [sys.executable, "-m", "agent_runtime", "--config", str(scratch / "runtime.yaml")]
    with (scratch / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=os.environ | own, cwd=scratch, stderr=log)
    try:
        await reachable(int(port))
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


async def reachable(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        return asyncio.run(soak(options.minutes, options.rate, Path(scratch)))


if __name__ == "__main__":
    sys.exit(main())
