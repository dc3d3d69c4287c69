"""How long does an agent take to serve an answer that another agent of its pool stored?

    python benchmarks/shared_cache.py [--answers 2000]

Two runtimes with their default settings share a Redis. The first is asked questions that are new, then the second the
same ones: each answer comes from Redis (L2), the repetition after it from the second runtime's memory (L1). Beside each
of them, in turns, a bare GET of the stored bytes from the same Redis, and a request to /healthz, which does nothing.
One plain connection each, one request at a time, the client's own time included. The exit status is 1 when the median
from Redis is above 1.0 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import hiredis
from aiohttp import web
from soak import KEY, free_port, running_redis, running_runtime

MOST_MS = 1.0
STORED_S = 10.0
ANSWER = "The stored answer has about as many words as an answer of a model has. " * 25


class Agent:
    """A runtime, over one connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def ask(self, question: str) -> tuple[float, str]:
        """Seconds, and where the answer came from."""
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": question}]})
        began = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
        reply = self._connection.getresponse()
        reply.read()
        seconds = time.perf_counter() - began
        assert reply.status == 200, reply.status
        return seconds, reply.headers["x-agentpool-cache"]

    def health(self) -> float:
        began = time.perf_counter()
        self._connection.request("GET", "/healthz")
        self._connection.getresponse().read()
        return time.perf_counter() - began


class Redis:
    """A connection to Redis, and nothing around it."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._wire = socket.create_connection((place.hostname, place.port))
        self._wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def command(self, *words: bytes | str) -> object:
        self._wire.sendall(hiredis.pack_command(words))
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._wire.recv(65536))
        return reply

    def stored(self) -> list[bytes]:
        found = self.command("KEYS", "*response*")
        return found if isinstance(found, list) else []

    def get(self, key: bytes) -> float:
        began = time.perf_counter()
        assert self.command("GET", key)
        return time.perf_counter() - began


async def complete(_: web.Request) -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 400, "total_tokens": 410}
    return web.json_response({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=2000)
    answers = parser.parse_args().answers
    application = web.Application()
    application.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model = {"endpoint": f"http://127.0.0.1:{runner.addresses[0][1]}/v1"}
    first, second = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="shared-") as folder:
        scratch = Path(folder)
        places = [scratch / name for name in ("redis", "first", "second")]
        for place in places:
            place.mkdir()
        async with (
            running_redis(places[0]) as redis_url,
            running_runtime(places[1], first, model, redis_url),
            running_runtime(places[2], second, model, redis_url),
        ):
            times = await asyncio.to_thread(measure, first, second, redis_url, answers)
    await runner.cleanup()
    for name, seconds in times.items():
        cuts = statistics.quantiles(seconds, n=100)
        print(f"{name:34} p50 {cuts[49] * 1e3:6.3f} ms   p99 {cuts[98] * 1e3:6.3f} ms")
    median_ms = statistics.median(times["stored by another agent (L2)"]) * 1e3
    print(f"from Redis {median_ms / statistics.median(times['bare GET']) / 1e3:.1f} times a bare GET")
    return 1 if median_ms > MOST_MS else 0


def measure(first: str, second: str, redis_url: str, answers: int) -> dict[str, list[float]]:
    """Seconds of each kind of request."""
    asked = [f"question {number} of the benchmark" for number in range(answers)]
    storing, serving, redis = Agent(first), Agent(second), Redis(redis_url)
    assert {storing.ask(question)[1] for question in asked} == {"miss"}
    until = time.monotonic() + STORED_S
    while len(keys := redis.stored()) < answers:
        assert time.monotonic() < until, "the answers did not reach Redis"
        time.sleep(0.1)
    times: dict[str, list[float]] = {
        name: [] for name in ("stored by another agent (L2)", "the same again (L1)", "/healthz", "bare GET")
    }
    for question, key in zip(asked, keys, strict=True):
        for name, expected in (("stored by another agent (L2)", "l2"), ("the same again (L1)", "l1")):
            seconds, cache = serving.ask(question)
            assert cache == expected, cache
            times[name].append(seconds)
        times["/healthz"].append(serving.health())
        times["bare GET"].append(redis.get(key))
    return times


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
