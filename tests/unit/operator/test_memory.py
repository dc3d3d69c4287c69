"""What a restart of the operator brings back."""

import pytest

from agentpool_operator.decide.behavior import Wish
from agentpool_operator.decide.history import record
from agentpool_operator.decide.spot import SpotState
from agentpool_operator.decide.state import PoolState
from agentpool_operator.observe.cluster import PoolKey
from agentpool_operator.reconcile.memory import Facts, Saved, read_memory, save_commands, with_memory
from agentpool_operator.reconcile.sizing import begin_scaling

NOW = 1_800_000_000.0
POOL = PoolKey("team", "research")
FACTS = Facts(uid="u", desired=7, woken_at_s=5.0, last_active_at_s=9.0, service_s=2.5, spot=SpotState(limit=2))


def worked(minutes, end_s=NOW):
    return record(PoolState().history, [2.0] * 60 * minutes, now_s=end_s)


def written(commands):
    """The hash after these commands."""
    (command,) = [c for c in commands if c[0] == "HSET"]
    fields = [part.encode() if isinstance(part, str) else part for part in command[2:]]
    return dict(zip(fields[::2], fields[1::2], strict=True))


def test_what_is_written_is_read_again():
    history = worked(20)
    facts, found = read_memory(written(save_commands(POOL, FACTS, history, Saved())), "u")
    assert facts == FACTS
    assert (found.minutes == history.minutes).all()
    assert found.end_s == history.end_s


def test_the_same_is_not_written_again_within_the_minute():
    saved, history = Saved(), worked(20)
    assert save_commands(POOL, FACTS, history, saved)
    moved = FACTS.model_copy(update={"last_active_at_s": 10.0, "service_s": 2.6})
    assert save_commands(POOL, moved, history, saved) == []
    assert b"arrivals" not in written(save_commands(POOL, FACTS.model_copy(update={"desired": 8}), history, saved))
    later = record(history, [2.0] * 61, now_s=NOW + 60)
    assert b"arrivals" in written(save_commands(POOL, moved, later, saved))


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {b"facts": b"{"},
        {b"facts": b'{"uid": "u", "desired": -1}'},
        {b"facts": b'{"uid": "u", "service_s": NaN}'},
        {b"facts": FACTS.model_dump_json().encode(), b"arrivals": b"junk"},
        {b"arrivals": b"junk"},
    ],
)
def test_what_cannot_be_read_is_not_there(raw):
    assert read_memory(raw, "u") is None


def test_another_pool_of_the_same_name_remembers_nothing():
    assert read_memory(written(save_commands(POOL, FACTS, worked(5), Saved())), "other") is None


BODY = {"metadata": {"creationTimestamp": "2026-11-21T00:00:00Z"}}


def test_a_new_pool_was_woken_by_its_creation():
    state = begin_scaling(BODY, NOW)
    assert state.desired is None
    assert state.woken_at_s == state.last_active_at_s


def test_a_pool_of_which_little_is_known_keeps_its_size_for_now():
    body = BODY | {"status": {"desiredAgents": 5, "lastScaleTime": "2026-11-21T01:00:00Z"}}
    state = begin_scaling(body, NOW)
    assert (state.desired, state.wishes, state.last_active_at_s) == (5, (Wish(NOW, 5),), NOW)


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01T00:00:00Z"])
def test_a_status_in_which_somebody_wrote_nonsense_tells_no_time(text):
    body = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "status": {"lastScaleTime": text}}
    assert begin_scaling(body, NOW).last_scaled_at_s is None


def test_the_status_knows_the_size_best_and_the_memory_the_work():
    body = BODY | {"status": {"desiredAgents": 5}}
    state = with_memory(begin_scaling(body, NOW), FACTS, worked(20))
    assert (state.desired, state.last_active_at_s, state.woken_at_s) == (5, 9.0, 5.0)
    assert len(state.history.minutes) == 20
