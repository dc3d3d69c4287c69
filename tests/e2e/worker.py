"""An agent of a user's own that works off the pool's queue. Runs in a container beside the runtime."""

import json
import os
import signal
import time
import urllib.request

import redis

STREAM, GROUP, ME = (os.environ["AGENTPOOL_QUEUE_" + name] for name in ("STREAM", "GROUP", "CONSUMER"))
DONE, FAILED = STREAM + ":done", STREAM + ":failed"
ABANDONED_MS = int(os.environ.get("ABANDONED_MS", "10000"))
queue = redis.Redis.from_url(os.environ["AGENTPOOL_QUEUE_REDIS_URL"], decode_responses=True)
leaving = False


def leave(*_: object) -> None:
    global leaving
    leaving = True


def ask(text: str) -> None:
    """One call of the model; the pod may have been told to go meanwhile."""
    body = {"model": "small-model", "max_tokens": 20, "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
    request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode())
    request.headers = headers
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["choices"][0]["message"]["content"].split() == ["lorem"] * 20


def work(entry: str, task: dict[str, str]) -> None:
    """Two calls of the model with time of the agent's own between them."""
    try:
        ask("begin " + entry)
        time.sleep(float(task["seconds"]))
        ask("end " + entry)
    except Exception as error:
        queue.hset(FAILED, f"{entry} {ME}", repr(error))
        raise
    queue.hincrby(DONE, entry, 1)
    queue.xack(STREAM, GROUP, entry)


signal.signal(signal.SIGTERM, leave)
while not leaving:
    tasks = queue.xautoclaim(STREAM, GROUP, ME, min_idle_time=ABANDONED_MS, count=1)[1]
    if not tasks:
        tasks = (queue.xreadgroup(GROUP, ME, {STREAM: ">"}, count=1, block=500) or [(STREAM, [])])[0][1]
    for entry, task in tasks:
        work(entry, task)
