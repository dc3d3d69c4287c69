"""Which stored questions lie nearest to a new one?

Exact up to ``EXACT_ROWS`` rows (one matrix product, 0.2 ms at 10,000 × 384); above, an HNSW graph (usearch, half
precision) proposes and the exact products decide. Slots of removed rows are used again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agent_runtime.semantic.vectors import Vectors
from agentpool_api.runtime_settings import EXACT_QUESTIONS

if TYPE_CHECKING:  # the lean image has no such library, and 10,000 questions need none
    from usearch.index import Index

Slots = NDArray[np.intp]

EXACT_ROWS = EXACT_QUESTIONS
_FIRST_ROWS = 16


class VectorIndex:
    """Unit vectors in numbered slots. Not for two threads at once."""

    def __init__(self, width: int) -> None:
        self._rows: Vectors = np.zeros((_FIRST_ROWS, width), np.float32)
        self._alive = np.zeros(_FIRST_ROWS, bool)
        self._free: list[int] = []
        self._used = 0
        self._graph: Index | None = None

    def __len__(self) -> int:
        return self._used - len(self._free)

    @property
    def size_bytes(self) -> int:
        """Bytes of the rows and, where there is one, of the graph."""
        return self._rows.nbytes + (int(self._graph.memory_usage) if self._graph is not None else 0)

    def add(self, vector: Vectors) -> int:
        """Keep a unit vector; gives its slot."""
        slot = self._free.pop() if self._free else self._used
        if slot == self._used:
            self._used += 1
            if slot == len(self._rows):
                self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
                self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])
        self._rows[slot] = vector
        self._alive[slot] = True
        if self._graph is not None:
            self._graph.add(slot, vector)
        elif len(self) > EXACT_ROWS:
            self._graph = self._make_graph()
        return slot

    def remove(self, slot: int) -> None:
        """Forget a slot; its number may be given again."""
        self._alive[slot] = False
        self._rows[slot] = 0
        self._free.append(slot)
        if self._graph is not None:
            self._graph.remove(slot)

    def vectors(self, slots: Slots) -> Vectors:
        """Rows of these slots."""
        return self._rows[slots]

    def nearest(self, vector: Vectors, count: int) -> tuple[Slots, Vectors]:
        """The ``count`` nearest slots and their cosine similarities, nearest first; fewer when fewer are held."""
        slots = self._candidates(vector, count)
        similarities = self._rows[slots] @ vector
        order = np.argsort(-similarities, kind="stable")[:count]
        return slots[order], similarities[order]

    def near(self, vector: Vectors, similarity: float) -> list[int]:
        """Every slot at this similarity or above, exactly."""
        found = (self._rows[: self._used] @ vector >= similarity) & self._alive[: self._used]
        return [int(slot) for slot in np.flatnonzero(found)]

    def _candidates(self, vector: Vectors, count: int) -> Slots:
        if self._graph is not None:
            return self._graph.search(vector, count).keys.astype(np.intp)
        alive = np.flatnonzero(self._alive[: self._used])
        if len(alive) <= count:
            return alive
        similarities = self._rows[: self._used] @ vector
        similarities[~self._alive[: self._used]] = -2.0
        return np.argpartition(-similarities, count - 1)[:count]

    def _make_graph(self) -> Index:
        """Parameters of the knowledge base's index: M 16, 200 candidates on insertion; searched wider, for recall."""
        from usearch.index import Index

        width = self._rows.shape[1]
        graph = Index(ndim=width, metric="ip", dtype="f16", connectivity=16, expansion_add=200, expansion_search=128)
        slots = np.flatnonzero(self._alive)
        graph.add(slots, self._rows[slots])
        return graph
