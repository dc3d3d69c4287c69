"""What is kept of an answer so that it can be given again, whole or as a stream?"""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass, replace

import orjson

from agent_runtime.cache.policies import RESPONSE
from agent_runtime.usage import Usage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT = 1
COMPRESS_FROM_BYTES = 1024
"""Smaller bodies gain less than the round trip costs (benchmarks/entry_packing.py)."""

LEVEL = 1
"""Of zstd: higher ones take up to ten times as long for a few percent (benchmarks/entry_packing.py)."""

_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: LEVEL,
    zstd.CompressionParameter.checksum_flag: 1,
}

MAX_UNPACKED_BYTES = 64 * 1024 * 1024
"""A damaged or foreign entry must not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One answer. Times are Unix seconds: an entry moves between processes and keeps its deadline."""

    body: bytes
    """The JSON answer, or the frames of the stream without a frame that only holds usage."""
    usage_frame: bytes = b""
    """The stream's frame that only holds usage, for callers who asked for it."""
    streamed: bool
    model: str
    kind: str = RESPONSE
    """See ``policies``."""
    base: str = ""
    """Key of the canonical answer that the body only tells the difference to; see ``duplicates``."""
    usage: Usage
    cost_nanousd: int
    stored_s: float
    expires_s: float

    @property
    def size_bytes(self) -> int:
        """What the entry takes in memory, its objects and place in the tier included (measured with tracemalloc)."""
        return len(self.body) + len(self.usage_frame) + 720


def pack(entry: Entry) -> bytes:
    """Bytes of an entry for a slower tier: a line of JSON, then the body, compressed where that pays."""
    packing, body = "plain", entry.body
    if len(body) >= COMPRESS_FROM_BYTES:
        shorter = compress(body)
        if len(shorter) < len(body):
            packing, body = "zstd", shorter
    head = {
        "v": FORMAT,
        "packing": packing,
        "streamed": entry.streamed,
        "model": entry.model,
        "kind": entry.kind,
        "base": entry.base,
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
            body=_unpacked(fields, body),
            usage_frame=fields["usage_frame"].encode(),
            streamed=bool(fields["streamed"]),
            model=str(fields["model"]),
            kind=str(fields.get("kind", RESPONSE)),
            base=str(fields.get("base", "")),
            usage=Usage(int(tokens[0]), int(tokens[1]), int(tokens[2]), bool(fields["estimated"])),
            cost_nanousd=int(fields["cost"]),
            stored_s=float(fields["stored"]),
            expires_s=float(fields["expires"]),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, zlib.error):
        return None


def compress(body: bytes, base: bytes = b"") -> bytes:
    """The body by zstd, with a check sum; only what differs from ``base`` when that is given."""
    return zstd.compress(body, options=_OPTIONS, zstd_dict=zstd.ZstdDict(base, is_raw=True) if base else None)


def decompress(body: bytes, base: bytes = b"") -> bytes:
    """What was compressed with this ``base``. Raises ValueError when it is damaged, cut off or too large."""
    reader = zstd.ZstdDecompressor(zstd.ZstdDict(base, is_raw=True) if base else None)
    try:
        whole = reader.decompress(body, MAX_UNPACKED_BYTES)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None
    if not reader.eof or reader.unused_data:
        raise ValueError("cut off, or too large")
    return whole


def _unpacked(fields: dict[str, object], body: bytes) -> bytes:
    """Raises what ``unpack`` catches. Earlier releases wrote ``deflated`` instead of ``packing``."""
    match fields.get("packing", "zlib" if fields.get("deflated") else "plain"):
        case "plain":
            return body
        case "zstd":
            return decompress(body)
        case "zlib":
            return zlib.decompress(body)
        case other:
            raise ValueError(other)


def with_life_from(entry: Entry, now_s: float, ttl_s: float) -> Entry:
    """The same answer as stored now."""
    return replace(entry, stored_s=now_s, expires_s=now_s + ttl_s)
