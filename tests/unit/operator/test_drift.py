import copy

import pytest

from agentpool_operator.act.apply import AppliedState, needs_write
from agentpool_operator.manifests.deployment import make_deployment
from agentpool_operator.manifests.drift import holds, stamped
from tests.unit.operator.make import values


def live_of(stamp):
    """The object as an API server keeps it: with defaults, its own metadata and somebody else's fields."""
    live = copy.deepcopy(stamp)
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1}
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    live["spec"]["progressDeadlineSeconds"] = 600
    live["spec"]["template"]["spec"]["containers"].append({"name": "injected", "image": "mesh"})
    live["status"] = {"replicas": 2}
    return live


STAMP = stamped(make_deployment(values(), "spot", 2))


def test_what_others_add_is_not_drift():
    assert not needs_write(STAMP, live_of(STAMP), AppliedState())


def test_what_is_missing_is_written():
    assert needs_write(STAMP, None, AppliedState())


def test_a_changed_field_of_ours_is_drift():
    live = live_of(STAMP)
    live["spec"]["replicas"] = 5
    assert needs_write(STAMP, live, AppliedState())


def test_a_removed_label_is_drift():
    live = live_of(STAMP)
    del live["metadata"]["labels"]["agentpool.dev/pool"]
    assert needs_write(STAMP, live, AppliedState())


def test_a_new_size_is_written():
    assert needs_write(stamped(make_deployment(values(), "spot", 3)), live_of(STAMP), AppliedState())


def test_a_value_the_api_server_insists_on_is_not_written_for_ever():
    from agentpool_operator.act.apply import _content, _hash_of

    live = live_of(STAMP)
    live["spec"]["replicas"] = 5
    state = AppliedState(written={("Deployment", "research-spot"): (_hash_of(STAMP), _content(live))})
    assert not needs_write(STAMP, live, state)
    live["spec"]["replicas"] = 6
    assert needs_write(STAMP, live, state)


@pytest.mark.parametrize(
    ("live", "wanted", "same"),
    [
        ({"cpu": "500m"}, {"cpu": "0.5"}, True),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"cpu": "500m"}, {"cpu": 0.5}, True),
        ({"cpu": "500m"}, {"cpu": "0.6"}, False),
        ({}, {"emptyDir": {}}, True),
        ({"a": None}, {"a": ""}, True),
        ({"a": 1}, {"a": "x"}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": "x"}, {"a": [1]}, False),
        ({"a": True}, {"a": 1}, True),
        (None, {"a": 1}, False),
        ({"containers": [{"name": "b"}, {"name": "a", "x": 1}]}, {"containers": [{"name": "a"}]}, True),
        ({"containers": [{"name": "b"}]}, {"containers": [{"name": "a"}]}, False),
    ],
)
def test_an_object_holds_what_is_asked_for(live, wanted, same):
    assert holds(live, wanted) is same
