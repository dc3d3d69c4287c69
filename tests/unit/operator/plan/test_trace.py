"""A trace is read as it is meant, or refused with the file, the line and what to change."""

from __future__ import annotations

import numpy as np
import pytest

from agentpool_operator.plan.errors import PlanInputError
from agentpool_operator.plan.tasks import make_tasks, offered_agents
from agentpool_operator.plan.trace import read_trace
from tests.unit.operator.plan.make import poisson


@pytest.fixture
def write(tmp_path):
    def text_file(text: str | bytes):
        path = tmp_path / "traffic.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return text_file


def test_counts_become_tasks_within_their_slots(write):
    trace = read_trace(write("t_s,count,service_s\n100,3,2\n110,0,\n130,2,4\n"))
    tasks = make_tasks(trace)
    assert (trace.slot_s, trace.tasks, trace.duration_s, trace.dated) == (10.0, 5, 40, False)
    assert (tasks.arrival_s[:3] < 10).all()
    assert ((tasks.arrival_s[3:] >= 30) & (tasks.arrival_s[3:] < 40)).all()
    assert tasks.arrivals_per_s().sum() == 5


def test_the_only_task_of_a_slot_takes_exactly_its_mean(write):
    tasks = make_tasks(read_trace(write("t_s,count,service_s\n0,1,2.5\n1,1,7\n")))
    assert tasks.service_s.tolist() == [2.5, 7.0]


def test_service_times_have_the_mean_that_is_stated(write):
    tasks = make_tasks(read_trace(write("t_s,count,service_s\n0,20000,3\n10,20000,5\n")))
    assert tasks.mean_service_s == pytest.approx(4.0, rel=0.02)


def test_tokens_give_a_service_time(write):
    trace = read_trace(write("t_s,count,prompt_mean,prompt_p95,completion_mean\n0,1,4000,9,330\n10,1,0,9,0\n"))
    assert [slot.service_s for slot in trace.slots] == [pytest.approx(11.5), 0.5]


def test_the_option_replaces_the_columns(write):
    trace = read_trace(write("t_s,count,service_s\n0,1,9\n10,1,9\n"), service_s=2.0)
    assert {slot.service_s for slot in trace.slots} == {2.0}


@pytest.mark.parametrize(
    "moments",
    [
        ("1767225600", "1767225660"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
        ("2026-01-01 00:00:00", "2026-01-01 00:01:00"),
        ("2026-01-01T01:00:00+01:00", "2026-01-01T01:01:00+01:00"),
    ],
)
def test_a_timestamp_is_unix_or_iso_8601(write, moments):
    first, second = moments
    trace = read_trace(write(f"timestamp,count\n{first},4\n{second},4\n"), service_s=1.0)
    assert (trace.starts_at_s, trace.slot_s, trace.dated) == (1767225600.0, 60.0, True)


def test_a_byte_order_mark_and_spaces_in_the_header_do_no_harm(write):
    assert read_trace(write("\ufefft_s, count ,service_s\n0,1,1\n10,1,1\n")).tasks == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", ":1: the header must name t_s or timestamp, and count", id="empty"),
        pytest.param("time,count\n0,1\n", ":1: the header must name t_s or timestamp, and count", id="no-time"),
        pytest.param("t_s,n,service_s\n0,1,1\n", ":1: the header must name t_s or timestamp, and count", id="no-count"),
        pytest.param("t_s,count\n0,1\n", ":1: nothing says how long a task takes", id="no-service-time"),
        pytest.param("t_s,count,service_s\n0,x,1\n", ":2: count is 'x': write a number", id="no-number"),
        pytest.param("t_s,count,service_s\n0,1,1\n10\n", ":3: count is '': write a number", id="short-row"),
        pytest.param("t_s,count,service_s\n0,1.5,1\n", ":2: count is '1.5': write a whole number", id="half-a-task"),
        pytest.param("t_s,count,service_s\n0,-1,1\n", ":2: count is '-1': write a finite number", id="negative"),
        pytest.param("t_s,count,service_s\n0,nan,1\n", ":2: count is 'nan': write a finite number", id="nan"),
        pytest.param("t_s,count,service_s\n0,inf,1\n", ":2: count is 'inf': write a finite number", id="infinite"),
        pytest.param("t_s,count,service_s\n0,1,0\n", ":2: a service time of 0 s", id="no-time-at-all"),
        pytest.param("t_s,count,service_s\n0,1,1e9\n", ":2: a service time of 1e+09 s", id="endless-task"),
        pytest.param("t_s,count,service_s\n0,1,\n1,1,1\n", ":2: nobody measured how long", id="not-measured"),
        pytest.param("t_s,count,service_s\n10,1,1\n0,1,1\n", ":3: t_s goes back: sort the rows", id="unsorted"),
        pytest.param("t_s,count,service_s\n0,1,1\n", ": fewer than two points in time", id="one-row"),
        pytest.param("t_s,count,service_s\n0,1,1\n1e9,1,1\n", ": covers 23,148 days: cut it", id="far-too-long"),
        pytest.param("t_s,count,service_s\n0,9999999,1\n1,1,1\n", ": 10,000,000 tasks: cut it", id="far-too-many"),
        pytest.param("timestamp,count\nsoon,1\n", ":2: timestamp is 'soon': write Unix seconds", id="no-timestamp"),
        pytest.param(b"t_s,count\n\xff\xfe,1\n", ": not UTF-8 text", id="not-text"),
    ],
)
def test_bad_traces_are_refused_in_one_line(write, text, message):
    path = write(text)
    with pytest.raises(PlanInputError) as refused:
        read_trace(path, service_s=1.0 if b"timestamp" in path.read_bytes() else None)
    assert str(refused.value).startswith(f"{path}{message}")
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PlanInputError, match=r"nowhere\.csv: no such file"):
        read_trace(tmp_path / "nowhere.csv")


def test_the_same_trace_gives_the_same_tasks(write):
    path = write("t_s,count,service_s\n0,50,2\n10,70,3\n")
    first, second = (make_tasks(read_trace(path)) for _ in range(2))
    assert np.array_equal(first.arrival_s, second.arrival_s)
    assert np.array_equal(first.service_s, second.service_s)


def test_offered_agents_are_the_busy_ones_if_nobody_waited():
    tasks = poisson(2.0, 5.0, 20_000, 7)
    demand = offered_agents(tasks, concurrency=2)
    assert demand.mean() == pytest.approx(5.0, rel=0.05)
    seconds = np.arange(0, 20_000, 0.5)[:, None]
    busy = ((tasks.arrival_s <= seconds[:120]) & (seconds[:120] < tasks.arrival_s + tasks.service_s)).sum(1).mean() / 2
    assert demand[0] == pytest.approx(busy, abs=0.1)
