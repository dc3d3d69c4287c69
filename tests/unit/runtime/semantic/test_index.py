"""The nearest stored vectors are found, exactly and by the graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runtime.semantic import index
from agent_runtime.semantic.index import VectorIndex


def unit_vectors(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=30)
@given(st.integers(1, 60), st.sets(st.integers(0, 59)), st.integers(1, 10))
def test_the_nearest_are_those_a_scan_finds_also_after_removals(count, removed, wanted):
    rows, held = unit_vectors(count), VectorIndex(16)
    slots = [held.add(row) for row in rows]
    gone = {slots[number] for number in removed if number < count}
    for slot in gone:
        held.remove(slot)
    query = unit_vectors(1, seed=9)[0]
    scan = sorted((slot for slot in slots if slot not in gone), key=lambda slot: -float(rows[slot] @ query))
    found, similarities = held.nearest(query, wanted)
    assert found.tolist() == scan[:wanted]
    assert np.allclose(similarities, rows[found] @ query, atol=1e-6)
    assert len(held) == count - len(gone)


def test_a_removed_slot_is_used_again():
    held = VectorIndex(16)
    first, second, third = unit_vectors(3)
    slot = held.add(first)
    held.add(second)
    held.remove(slot)
    assert held.add(third) == slot
    assert held.nearest(third, 1)[0].tolist() == [slot]


def test_above_the_exact_limit_the_graph_finds_nearly_the_same(monkeypatch):
    monkeypatch.setattr(index, "EXACT_ROWS", 500)
    rows, held = unit_vectors(1500, 32), VectorIndex(32)
    for row in rows:
        held.add(row)
    for slot in range(0, 300, 3):
        held.remove(slot)
    queries = unit_vectors(50, 32, seed=3)
    right = 0
    for query in queries:
        scan = [slot for slot in np.argsort(-(rows @ query)) if not (slot < 300 and slot % 3 == 0)]
        right += len(set(held.nearest(query, 10)[0].tolist()) & {int(slot) for slot in scan[:10]})
    assert right >= 0.95 * 500
    assert len(held) == 1400


def test_near_finds_every_row_at_the_similarity():
    held = VectorIndex(16)
    rows = unit_vectors(40)
    slots = [held.add(row) for row in rows]
    held.remove(slots[5])
    expected = {slot for slot in slots if float(rows[slot] @ rows[0]) >= 0.2} - {slots[5]}
    assert set(held.near(rows[0], 0.2)) == expected


def test_an_empty_index_finds_nothing():
    slots, similarities = VectorIndex(16).nearest(unit_vectors(1)[0], 3)
    assert (len(slots), len(similarities)) == (0, 0)
    assert VectorIndex(16).size_bytes == pytest.approx(16 * 16 * 4)
