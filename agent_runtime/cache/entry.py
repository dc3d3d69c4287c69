"""What is kept of an answer so that it can be given again, whole or as a stream?"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import orjson

from agent_runtime.usage import Usage

FORMAT = 1
COMPRESS_FROM_BYTES = 1024
"""Smaller bodies gain less than the round trip costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One answer. Times are Unix seconds: an entry moves between processes and keeps its deadline."""

    body: bytes
    """The JSON answer, or the frames of the stream without a frame that only holds usage."""
    usage_frame: bytes = b""
    """The stream's frame that only holds usage, for callers who asked for it."""
    streamed: bool
    model: str
    usage: Usage
    cost_nanousd: int
    stored_s: float
    expires_s: float

    @property
    def size_bytes(self) -> int:
        """What the entry takes in memory, its objects included (measured with sys.getsizeof, rounded up)."""
        return len(self.body) + len(self.usage_frame) + 640


def pack(entry: Entry) -> bytes:
    """Bytes of an entry for a shared tier: a line of JSON, then the body, deflated where that pays."""
    body = zlib.compress(entry.body, 1) if len(entry.body) >= COMPRESS_FROM_BYTES else entry.body
    head = {
        "v": FORMAT,
        "deflated": len(entry.body) >= COMPRESS_FROM_BYTES,
        "streamed": entry.streamed,
        "model": entry.model,
        "usage": [entry.usage.input_tokens, entry.usage.cached_input_tokens, entry.usage.output_tokens],
        "estimated": entry.usage.estimated,
        "cost": entry.cost_nanousd,
        "stored": entry.stored_s,
        "expires": entry.expires_s,
        "usage_frame": entry.usage_frame.decode(),
    }
    return orjson.dumps(head) + b"\n" + body


def unpack(packed: bytes) -> Entry | None:
    """The entry, or None when the bytes are damaged or of another release."""
    head, _, body = packed.partition(b"\n")
    try:
        fields = orjson.loads(head)
        if fields["v"] != FORMAT:
            return None
        tokens = fields["usage"]
        return Entry(
            body=zlib.decompress(body) if fields["deflated"] else body,
            usage_frame=fields["usage_frame"].encode(),
            streamed=bool(fields["streamed"]),
            model=str(fields["model"]),
            usage=Usage(int(tokens[0]), int(tokens[1]), int(tokens[2]), bool(fields["estimated"])),
            cost_nanousd=int(fields["cost"]),
            stored_s=float(fields["stored"]),
            expires_s=float(fields["expires"]),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, zlib.error):
        return None


def with_life_from(entry: Entry, now_s: float, ttl_s: float) -> Entry:
    """The same answer as stored now."""
    return replace(entry, stored_s=now_s, expires_s=now_s + ttl_s)
