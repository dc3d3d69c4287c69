import pytest

from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.manifests.merge import merged

BASE = {
    "metadata": {"labels": {"a": "1"}},
    "spec": {
        "containers": [{"name": "x", "image": "i", "env": [{"name": "A", "value": "1"}]}, {"name": "y"}],
        "tolerations": [{"key": "old"}],
        "priority": 1,
    },
}


def overlaid(overlay):
    return merged(BASE, overlay, "spec.agent.podTemplate")


def test_objects_merge_key_by_key():
    assert overlaid({"metadata": {"labels": {"b": "2"}}})["metadata"]["labels"] == {"a": "1", "b": "2"}


def test_containers_merge_by_name_and_new_ones_are_added():
    result = overlaid({"spec": {"containers": [{"name": "y", "image": "j"}, {"name": "z"}]}})
    assert [c["name"] for c in result["spec"]["containers"]] == ["x", "y", "z"]
    assert result["spec"]["containers"][1]["image"] == "j"


def test_variables_of_a_container_merge_by_name():
    env = [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]
    result = overlaid({"spec": {"containers": [{"name": "x", "env": env}]}})
    assert result["spec"]["containers"][0]["env"] == env
    assert result["spec"]["containers"][0]["image"] == "i"


def test_lists_without_a_merge_key_are_replaced():
    assert overlaid({"spec": {"tolerations": [{"key": "new"}]}})["spec"]["tolerations"] == [{"key": "new"}]


def test_null_removes():
    assert "priority" not in overlaid({"spec": {"priority": None}})["spec"]


def test_the_base_is_not_changed():
    before = repr(BASE)
    overlaid({"spec": {"containers": [{"name": "x", "image": "other"}]}})
    assert repr(BASE) == before


@pytest.mark.parametrize(
    ("overlay", "says"),
    [
        ({"spec": "x"}, "spec.agent.podTemplate.spec must be an object, not a text"),
        ({"spec": {"containers": {}}}, "spec.agent.podTemplate.spec.containers must be a list, not an object"),
        ({"spec": {"containers": [{"image": "i"}]}}, "spec.agent.podTemplate.spec.containers[0] needs a name"),
        ({"spec": {"containers": ["x"]}}, "spec.agent.podTemplate.spec.containers[0] needs a name"),
        ({"metadata": 3}, "spec.agent.podTemplate.metadata must be an object, not a number"),
    ],
)
def test_an_overlay_that_does_not_fit_is_refused_with_its_place(overlay, says):
    with pytest.raises(ManifestRefusedError) as refused:
        overlaid(overlay)
    assert refused.value.reason == "InvalidPodTemplate"
    assert says in refused.value.message
