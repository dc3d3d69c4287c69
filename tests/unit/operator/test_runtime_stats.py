import pytest

from agentpool_operator.observe.runtime_stats import PoolTracker, parse_heartbeats
from tests.unit.operator.make import heartbeat, pod


def update(tracker, reports, pods, now_s=100.0):
    return tracker.update({h.uid: h for h in reports}, pods, now_s=now_s)


def test_one_report_tells_the_state_of_now():
    stats = update(PoolTracker(), [heartbeat(in_flight=3, queued=2)], [pod()])
    assert (stats.in_flight, stats.queued, stats.utilization) == (3, 2, 0.75)
    assert stats.arrivals_per_s is None
    assert stats.service_s is None


def test_two_reports_give_rates():
    tracker = PoolTracker()
    update(tracker, [heartbeat(at_s=100, arrivals_total=10, completed_total=5, service_seconds_total=10.0)], [pod()])
    after = heartbeat(at_s=110, arrivals_total=30, completed_total=15, service_seconds_total=40.0)
    stats = update(tracker, [after], [pod()], now_s=110.0)
    assert stats.arrivals_per_s == 2.0
    assert stats.service_s == 3.0


def test_a_restarted_process_counts_from_zero():
    tracker = PoolTracker()
    update(tracker, [heartbeat(arrivals_total=1000)], [pod()])
    after = heartbeat(at_s=102, started_s=101.0, arrivals_total=4)
    assert update(tracker, [after], [pod()], now_s=102.0).arrivals_per_s == 2.0


def test_what_an_agent_did_before_anybody_looked_is_not_of_now():
    tracker = PoolTracker()
    update(tracker, [heartbeat()], [pod()])
    stats = update(tracker, [heartbeat(), heartbeat("b", 102.0, arrivals_total=900)], [pod(), pod("b")], now_s=102.0)
    assert stats.arrivals_per_s == 0.0


def test_the_service_time_stays_known_while_nothing_is_completed():
    tracker = PoolTracker()
    update(tracker, [heartbeat()], [pod()])
    done = {"completed_total": 4, "service_seconds_total": 10.0}
    update(tracker, [heartbeat(at_s=102, **done)], [pod()], now_s=102.0)
    assert update(tracker, [heartbeat(at_s=5000, **done)], [pod()], now_s=5000.0).service_s == 2.5


def test_a_faster_service_is_noticed_within_minutes():
    tracker, total, spent = PoolTracker(), 0, 0.0
    for second in range(0, 1200, 2):
        total, spent = total + 2, spent + (20.0 if second < 600 else 2.0)
        report = heartbeat(at_s=100.0 + second, completed_total=total, service_seconds_total=spent)
        stats = update(tracker, [report], [pod()], now_s=100.0 + second)
    assert 1.0 <= stats.service_s < 1.1


@pytest.mark.parametrize("at_s", [100.0 - 10.1, 100.0 + 5.1], ids=["older than ten seconds", "from the future"])
def test_a_report_that_is_not_of_now_is_no_report(at_s):
    stats = update(PoolTracker(), [heartbeat(at_s=at_s, in_flight=4)], [pod()])
    assert not stats.available
    assert stats.partial
    assert stats.silent == ("p-1",)
    assert stats.utilization is None


def test_a_pod_that_reports_and_is_not_there_is_left_out():
    stats = update(PoolTracker(), [heartbeat("ghost", in_flight=4), heartbeat(in_flight=1)], [pod()])
    assert stats.in_flight == 1


def test_a_pod_just_ready_need_not_have_reported():
    stats = update(PoolTracker(), [], [pod(ready_since_s=95.0)])
    assert stats.silent == ()
    assert not stats.available


def test_some_silent_agents_make_the_picture_partial():
    stats = update(PoolTracker(), [heartbeat("a", in_flight=2)], [pod("a"), pod("b")])
    assert stats.available
    assert stats.partial
    assert stats.silent == ("b",)


def test_a_draining_agent_is_no_capacity_but_its_work_is_work():
    stats = update(
        PoolTracker(),
        [heartbeat("a", in_flight=2), heartbeat("b", in_flight=4, draining=True)],
        [pod("a"), pod("b")],
    )
    assert stats.utilization == 0.5
    assert stats.in_flight == 6
    assert stats.draining == {"b"}


def test_utilization_is_a_mean_over_the_window_and_old_samples_go():
    tracker = PoolTracker()
    update(tracker, [heartbeat(at_s=100, in_flight=4)], [pod()], now_s=100.0)
    assert update(tracker, [heartbeat(at_s=130)], [pod()], now_s=130.0).utilization == 0.5
    assert update(tracker, [heartbeat(at_s=170)], [pod()], now_s=170.0).utilization == 0.0


def test_a_clock_that_went_back_forgets_the_future():
    tracker = PoolTracker()
    update(tracker, [heartbeat(at_s=100, in_flight=4)], [pod()], now_s=100.0)
    assert update(tracker, [heartbeat(at_s=50)], [pod()], now_s=50.0).utilization == 0.0


def test_the_last_activity_is_never_in_the_future():
    stats = update(PoolTracker(), [heartbeat(last_activity_s=104.0)], [pod()])
    assert stats.last_activity_s == 100.0


def test_a_problem_many_agents_report_is_told_once():
    problem = {"reason": "SecretMissing", "field": "spec.x", "message": "make it"}
    reports = [heartbeat(name, problems=[problem]) for name in ("a", "b")]
    assert len(update(PoolTracker(), reports, [pod("a"), pod("b")]).problems) == 1


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'{"pod": "a"}', heartbeat().model_dump_json().replace("100.0", "NaN").encode(), b"\xff"],
)
def test_a_malformed_report_is_left_out_and_hurts_no_other(raw):
    good = heartbeat("b")
    found = parse_heartbeats({b"a": raw, b"b": good.model_dump_json().encode()})
    assert found == {good.uid: good}
