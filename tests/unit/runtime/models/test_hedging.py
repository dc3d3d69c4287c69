"""From when on a first token is late."""

from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.models.hedging import FEWEST_SAMPLES, MOST_SAMPLES, Lateness


def test_nobody_is_late_while_little_is_known() -> None:
    lateness = Lateness()
    for _ in range(FEWEST_SAMPLES - 1):
        lateness.add(1.0)
    assert lateness.late_s is None
    lateness.add(1.0)
    assert lateness.late_s == 1.0


def test_old_calls_are_forgotten() -> None:
    lateness = Lateness()
    for _ in range(MOST_SAMPLES):
        lateness.add(9.0)
    for _ in range(MOST_SAMPLES):
        lateness.add(0.5)
    assert lateness.late_s == 0.5


@given(st.lists(st.floats(0, 1000), min_size=FEWEST_SAMPLES, max_size=MOST_SAMPLES))
def test_about_one_call_in_twenty_is_late(samples: list[float]) -> None:
    lateness = Lateness()
    for seconds in samples[: len(samples) // FEWEST_SAMPLES * FEWEST_SAMPLES]:
        lateness.add(seconds)
    known = samples[: len(samples) // FEWEST_SAMPLES * FEWEST_SAMPLES]
    assert lateness.late_s is not None
    assert sum(seconds > lateness.late_s for seconds in known) <= len(known) * 0.05
    assert sum(seconds >= lateness.late_s for seconds in known) >= len(known) * 0.05
