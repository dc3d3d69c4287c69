"""Which answers say nearly the same? One of them is stored whole, the others as what differs from it.

Nothing is lost: everybody gets their own answer, byte by byte. Likeness is found by MinHash and locality-sensitive
hashing (Broder, 1997; Indyk and Motwani, 1998) of three words in a row, never by comparing with all; tenants share
nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b

import rensa

from agent_runtime.cache.entry import Entry, compress, decompress
from agent_runtime.cache.policies import MODEL_OUTPUT

SIMILARITY = 0.90
MODEL_OUTPUT_SIMILARITY = 0.95
"""From which share of common words in a row on answers are compared."""

MUST_SAVE = 0.5
"""What differs must take less than this share of the compressed answer."""

SMALLEST_BYTES = 256
LARGEST_BYTES = 256 * 1024
"""Larger answers would take too long to compare."""

MAX_CANONICAL = 1000
MAX_CANONICAL_BYTES = 8 * 1024 * 1024
PERMUTATIONS, BANDS = 128, 16
"""At a likeness of .9 two answers meet in a band with a probability of 0.9999."""


@dataclass(slots=True)
class _Canonical:
    number: int
    tenant: str
    key: str
    entry: Entry
    signature: rensa.RMinHash
    stored_until_s: float = 0.0


class Duplicates:
    """The answers of this process that others may be like."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, _Canonical] = OrderedDict()
        self._numbers: dict[str, int] = {}
        self._index = rensa.RMinHashLSH(threshold=SIMILARITY, num_perm=PERMUTATIONS, num_bands=BANDS)
        self._next = 0
        self._bytes = 0
        self.found_total = 0
        self.saved_bytes_total = 0

    def __len__(self) -> int:
        return len(self._known)

    def thin(self, tenant: str, entry: Entry) -> tuple[Entry, tuple[str, Entry] | None]:
        """The answer as it is to be stored, and a canonical one to store with it, under its key.

        The answer itself when none is like it.
        """
        if not SMALLEST_BYTES <= len(entry.body) <= LARGEST_BYTES:
            return entry, None
        signature = _signature(entry.body)
        like = self._like(tenant, entry, signature)
        if like is None:
            self._remember(tenant, entry, signature)
            return entry, None
        delta = compress(entry.body, like.entry.body)
        saved = len(compress(entry.body)) - len(delta)
        if len(delta) > MUST_SAVE * (saved + len(delta)):
            return entry, None
        self._known.move_to_end(like.number)
        self.found_total += 1
        self.saved_bytes_total += saved
        return replace(entry, body=delta, base=like.key), self._to_store(like, entry)

    def canonical(self, key: str) -> Entry | None:
        """A canonical answer this process still knows."""
        number = self._numbers.get(key)
        return self._known[number].entry if number is not None else None

    def clear(self) -> None:
        """Forget what answers may be like; those that are stored stay readable."""
        while self._known:
            self._forget_oldest()

    def _like(self, tenant: str, entry: Entry, signature: rensa.RMinHash) -> _Canonical | None:
        wanted = MODEL_OUTPUT_SIMILARITY if entry.kind == MODEL_OUTPUT else SIMILARITY
        found = [self._known[number] for number in self._index.query(signature)]
        scores = [
            (known.signature.jaccard(signature), known)
            for known in found
            if known.tenant == tenant and known.entry.streamed == entry.streamed
        ]
        score, best = max(scores, key=lambda scored: scored[0], default=(0.0, None))
        return best if score >= wanted else None

    def _remember(self, tenant: str, entry: Entry, signature: rensa.RMinHash) -> None:
        digest = blake2b(tenant.encode() + b"\n" + entry.body, digest_size=20).hexdigest()
        self._next += 1
        known = _Canonical(self._next, tenant, f"canonical-{digest}", entry, signature)
        self._known[self._next] = known
        self._numbers[known.key] = self._next
        self._index.insert(self._next, signature)
        self._bytes += len(entry.body)
        while len(self._known) > MAX_CANONICAL or self._bytes > MAX_CANONICAL_BYTES:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        number, known = self._known.popitem(last=False)
        self._index.remove(number)
        self._numbers.pop(known.key, None)
        self._bytes -= len(known.entry.body)

    def _to_store(self, known: _Canonical, like: Entry) -> tuple[str, Entry] | None:
        """It has to outlive the answer that needs it; stored with life to spare, so that this is seldom."""
        if known.stored_until_s >= like.expires_s:
            return None
        known.stored_until_s = like.expires_s + (like.expires_s - like.stored_s)
        return known.key, replace(known.entry, stored_s=like.stored_s, expires_s=known.stored_until_s)


def rebuild(thin: Entry, canonical: Entry) -> Entry | None:
    """The whole answer; None when it cannot be made from this canonical one."""
    try:
        return replace(thin, body=decompress(thin.body, canonical.body), base="")
    except ValueError:
        return None


def _signature(body: bytes) -> rensa.RMinHash:
    words = body.decode(errors="replace").split()
    signature = rensa.RMinHash(num_perm=PERMUTATIONS, seed=1)
    signature.update([" ".join(words[place : place + 3]) for place in range(max(len(words) - 2, 1))])
    return signature
