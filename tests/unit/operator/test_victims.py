from hypothesis import given
from hypothesis import strategies as st

from agentpool_operator.act.victims import costs_to_stamp


def test_busy_agents_are_stamped_before_a_scale_in():
    pods = [("idle", None), ("busy", None), ("busier", None)]
    assert costs_to_stamp(pods, {"busy": 1, "busier": 3}, shrinks_to=2) == {"busy": 1, "busier": 3}


def test_nothing_is_stamped_while_the_size_stays_or_grows():
    assert costs_to_stamp([("busy", None)], {"busy": 1}, shrinks_to=1) == {}
    assert costs_to_stamp([("busy", None)], {"busy": 1}, shrinks_to=2) == {}


def test_nothing_is_stamped_when_all_go():
    assert costs_to_stamp([("busy", None)], {"busy": 1}, shrinks_to=0) == {}


def test_an_old_stamp_is_corrected_and_a_right_one_left():
    pods = [("was-busy", "4"), ("still-busy", "2"), ("idle", "0")]
    assert costs_to_stamp(pods, {"still-busy": 2}, shrinks_to=1) == {"was-busy": 0}


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 9)), st.integers(0, 10))
def test_stamping_twice_stamps_nothing_more(in_flight, shrinks_to):
    pods = [(name, None) for name in in_flight]
    costs = costs_to_stamp(pods, in_flight, shrinks_to=shrinks_to)
    stamped = [(name, str(costs[name]) if name in costs else None) for name, _ in pods]
    assert costs_to_stamp(stamped, in_flight, shrinks_to=shrinks_to) == {}
