"""Where does a text's vector come from, what must be true of one, and which are kept for texts seen again?

Two sources: the encoder inside the image (embedder.py) and an embeddings model of the pool (pipeline/embedding.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Result = TypeVar("Result")

MOST_DIMENSIONS = 8192
"""Twice what the largest published text encoders give."""

CACHED_BYTES_OVERHEAD = 250
"""Objects around a cached vector (sys.getsizeof, rounded up)."""


class InvalidVectors(Exception):  # noqa: N818
    """Raised when an endpoint's answer holds no vectors that could be compared. The text says what is wrong."""


class VectorSource(Protocol):
    """Embeds texts, and runs what needs the vectors, one thing after the other, off the event loop."""

    @property
    def patience_s(self) -> float:
        """Longest wait for the vector of a question; then the question counts as never asked before."""

    @property
    def cached_bytes(self) -> int:
        """Bytes of the vectors kept for texts seen again."""

    async def run(self, texts: Sequence[str], then: Callable[[list[Vectors]], Result]) -> Result:
        """Embed texts, then call ``then`` with their unit vectors; gives its result. Raises EmbedderUnavailable."""

    async def forget_cached(self) -> None:
        """Let all cached vectors go."""

    async def aclose(self) -> None:
        """End."""


class VectorCache:
    """The vectors of texts used last, within so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()
        self.size_bytes = 0

    def get(self, text: str) -> Vectors | None:
        """The vector of a text, which counts as used."""
        known = self._vectors.get(text)
        if known is not None:
            self._vectors.move_to_end(text)
        return known

    def peek(self, text: str) -> Vectors | None:
        """The same from any thread: nothing counts as used."""
        return self._vectors.get(text)

    def keep(self, text: str, vector: Vectors) -> None:
        """Keep the vector of a text that has none here."""
        self._vectors[text] = vector
        self.size_bytes += _size(text, vector)
        while self.size_bytes > self._max_bytes and self._vectors:
            self.size_bytes -= _size(*self._vectors.popitem(last=False))

    def clear(self) -> None:
        """Forget all."""
        self._vectors.clear()
        self.size_bytes = 0


def _size(text: str, vector: Vectors) -> int:
    return vector.nbytes + len(text.encode("utf-8", "surrogatepass")) + CACHED_BYTES_OVERHEAD


class _Item(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Item]
    model: str = ""


_ANSWER = msgspec.json.Decoder(_Answer)


def read_vectors(body: bytes, count: int) -> tuple[Vectors, str]:
    """Unit vectors [count, dimensions] of an endpoint's answer, in the order of the texts, and the model it names.

    Raises InvalidVectors.
    """
    try:
        answer = _ANSWER.decode(body)
    except msgspec.MsgspecError as error:
        raise InvalidVectors(f"no list of embeddings: {error}") from None
    items = sorted(answer.data, key=lambda item: item.index)
    if [item.index for item in items] != list(range(count)):
        raise InvalidVectors(f"{len(items)} embeddings with other numbers than those of the {count} texts")
    dimensions = {len(item.embedding) for item in items}
    if len(dimensions) != 1 or not 0 < max(dimensions) <= MOST_DIMENSIONS:
        raise InvalidVectors(f"embeddings of {sorted(dimensions)} dimensions: 1 to {MOST_DIMENSIONS}, all the same")
    vectors = np.array([item.embedding for item in items])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise InvalidVectors("an embedding that is zero or not finite")
    return (vectors / lengths).astype(np.float32), answer.model
