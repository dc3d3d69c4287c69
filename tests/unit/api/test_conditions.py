"""Conditions: the transition time moves with the status and with nothing else."""

from datetime import UTC, datetime

from agentpool_api.conditions import Condition, set_condition

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 21, 13, tzinfo=UTC)


def ready(before: list[Condition], status: bool | None, now: datetime, message: str = "") -> list[Condition]:
    return set_condition(before, "Ready", status, "Because", message, observed_generation=1, now=now)


def test_a_new_condition_begins_now() -> None:
    assert ready([], True, NOON)[0].last_transition_time == "2026-11-21T12:00:00Z"


def test_the_same_status_keeps_its_time_though_the_message_changes() -> None:
    (condition,) = ready(ready([], True, NOON), True, LATER, "new words")
    assert (condition.last_transition_time, condition.message) == ("2026-11-21T12:00:00Z", "new words")


def test_another_status_moves_the_time() -> None:
    assert ready(ready([], True, NOON), None, LATER)[0].last_transition_time == "2026-11-21T13:00:00Z"
    assert ready(ready([], True, NOON), None, LATER)[0].status == "Unknown"


def test_other_conditions_stay_as_they_are() -> None:
    before = set_condition([], "Progressing", False, "Done", "", observed_generation=1, now=NOON)
    assert ready(before, True, LATER)[0] == before[0]
