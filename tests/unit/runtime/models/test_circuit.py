"""When an endpoint is left alone, and when it is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.models.circuit import LONGEST_FACTOR, Circuit, CircuitState


def failed(times: int, *, now_s: float = 0.0) -> Circuit:
    circuit = Circuit(3, 10)
    for _ in range(times):
        circuit.begin()
        circuit.fail(now_s)
    return circuit


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    assert failed(2).state(0) is CircuitState.CLOSED
    assert failed(3).state(0) is CircuitState.OPEN
    assert not failed(3).ready(9.9)
    assert failed(3).wait_s(4) == 6


def test_an_answer_between_failures_starts_the_count_anew() -> None:
    circuit = failed(2)
    circuit.succeed()
    circuit.fail(0)
    assert circuit.state(0) is CircuitState.CLOSED


def test_one_call_at_a_time_probes_a_half_open_circuit() -> None:
    circuit = failed(3)
    assert circuit.state(10) is CircuitState.HALF_OPEN
    assert circuit.ready(10)
    circuit.begin()
    assert not circuit.ready(10)
    circuit.leave()
    assert circuit.ready(10)


def test_a_probe_that_succeeds_closes_it() -> None:
    circuit = failed(3)
    circuit.begin()
    circuit.succeed()
    assert circuit.state(10) is CircuitState.CLOSED
    assert circuit.ready(10)


def test_each_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    circuit, now_s, opens = failed(3), 0.0, []
    for _ in range(6):
        now_s += circuit.wait_s(now_s)
        circuit.begin()
        circuit.fail(now_s)
        opens.append(circuit.wait_s(now_s))
    assert opens == [20, 40, 80, 80, 80, 80]
    assert opens[-1] == 10 * LONGEST_FACTOR


def test_failures_of_calls_begun_before_it_opened_change_nothing() -> None:
    circuit = failed(3)
    circuit.fail(5)
    assert circuit.wait_s(5) == 5


def test_a_pause_the_endpoint_asked_for_is_kept_and_never_shortened() -> None:
    circuit = Circuit(3, 10)
    circuit.cool(7)
    circuit.cool(2)
    assert circuit.state(6.9) is CircuitState.COOLING
    assert not circuit.ready(6.9)
    assert circuit.state(7) is CircuitState.CLOSED
    assert circuit.ready(7)


steps = st.lists(
    st.tuples(st.sampled_from(["begin", "succeed", "fail", "leave", "cool"]), st.floats(0, 100)), max_size=60
)


@given(steps, st.integers(1, 5), st.floats(0.1, 60))
def test_whatever_happens_it_can_be_tried_again_in_bounded_time(
    happened: list[tuple[str, float]], failures: int, open_s: float
) -> None:
    circuit, now_s = Circuit(failures, open_s), 0.0
    for what, seconds in happened:
        now_s += seconds
        match what:
            case "fail":
                circuit.fail(now_s)
            case "cool":
                circuit.cool(now_s + seconds)
            case _:
                getattr(circuit, what)()
        assert 0 <= circuit.wait_s(now_s) <= max(open_s * LONGEST_FACTOR, 100)
        assert not (circuit.ready(now_s) and circuit.state(now_s) in (CircuitState.OPEN, CircuitState.COOLING))
    circuit.leave()
    assert circuit.ready(now_s + circuit.wait_s(now_s) + 1e-6)
