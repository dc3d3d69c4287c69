"""What does compressing stored answers cost, and what does it save?

    .venv/bin/python benchmarks/entry_packing.py CONVERSATIONS.jsonl.gz

Takes assistant texts from a file of conversations (one JSON object with ``traj``, a list of messages, a line), makes
chat completions, streams and embeddings of them, and prints for each kind what zlib (level 1) and zstd make of it.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
import zlib
from collections.abc import Callable

from backports import zstd

ROUNDS = 3
Pack = Callable[[bytes], bytes]


def texts(path: str) -> list[str]:
    with gzip.open(path, "rt") as lines:
        messages = [message for line in lines for message in json.loads(line)["traj"]]
    return [one["content"] for one in messages if one["role"] == "assistant" and isinstance(one["content"], str)]


def completion(text: str, number: int) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": len(text) // 4, "total_tokens": 10 + len(text) // 4}
    fields = {"id": f"chatcmpl-{zlib.crc32(b'%d' % number):x}", "object": "chat.completion", "choices": [choice]}
    return json.dumps(fields | {"usage": usage}).encode()


def stream(text: str, number: int) -> bytes:
    fields = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    frames = [fields | {"choices": [{"index": 0, "delta": {"content": word + " "}}]} for word in text.split()]
    return "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames).encode()


def embedding(chance: random.Random) -> bytes:
    return json.dumps({"data": [{"embedding": [chance.uniform(-0.1, 0.1) for _ in range(1536)]}]}).encode()


def measure(pack: Pack, unpack: Pack, bodies: list[bytes]) -> tuple[float, float, float]:
    """Share of the bytes left, and microseconds of CPU to pack and to unpack one body."""
    times = [time.process_time()]
    for _ in range(ROUNDS):
        packed = [pack(body) for body in bodies]
    times.append(time.process_time())
    for _ in range(ROUNDS):
        assert [unpack(body) for body in packed] == bodies
    times.append(time.process_time())
    scale = 1e6 / ROUNDS / len(bodies)
    return (
        sum(map(len, packed)) / sum(map(len, bodies)),
        (times[1] - times[0]) * scale,
        (times[2] - times[1]) * scale,
    )


def main() -> None:
    chance, said = random.Random(1), texts(sys.argv[1])
    long = [" ".join(chance.sample(said, 6)) for _ in range(100)]
    kinds = {
        "short completion": [completion(text, number) for number, text in enumerate(said[:300])],
        "long completion": [completion(text, number) for number, text in enumerate(long)],
        "stream": [stream(text, number) for number, text in enumerate(long)],
        "embedding": [embedding(chance) for _ in range(20)],
    }
    print("| body | bytes | packing | bytes left | pack µs | unpack µs |\n|---|--:|---|--:|--:|--:|")
    ways: dict[str, tuple[Pack, Pack]] = {"zlib 1": (lambda body: zlib.compress(body, 1), zlib.decompress)}
    for level in (1, 3, 6):
        ways[f"zstd {level}"] = (lambda body, level=level: zstd.compress(body, level), zstd.decompress)
    for kind, bodies in kinds.items():
        for name, (pack, unpack) in ways.items():
            share, pack_us, unpack_us = measure(pack, unpack, bodies)
            size = sum(map(len, bodies)) // len(bodies)
            print(f"| {kind} | {size:,} | {name} | {share * 100:.0f} % | {pack_us:.0f} | {unpack_us:.0f} |")


if __name__ == "__main__":
    main()
