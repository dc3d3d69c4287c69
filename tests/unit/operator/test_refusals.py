"""Which answers of the API server are the user's to mend, and which pass by themselves?"""

import pytest
from lightkube import ApiError
from lightkube.core.internal_models import meta_v1

from agentpool_operator.act.api import _ExistsError, _translated
from agentpool_operator.errors import ClusterUnavailableError, ManifestRefusedError


def answer(code, message="", reason=""):
    return _translated(ApiError(status=meta_v1.Status(code=code, message=message, reason=reason)))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (422, 'Deployment.apps "x" is invalid: spec.template.spec.restartPolicy: Unsupported value'),
        (400, "unknown field"),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'),
        (403, 'deployments.apps "x" is forbidden: exceeded quota: small'),
        (500, "failed to convert new object: quantities must match the regular expression"),
    ],
)
def test_a_wrong_manifest_is_the_users_to_mend(code, message):
    refused = answer(code, message)
    assert isinstance(refused, ManifestRefusedError)
    assert (refused.reason, refused.message) == ("ManifestRefused", message)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (500, "etcdserver: request timed out"),
        (429, "storage is (re)initializing"),
        (409, "the object has been modified"),
        (404, 'namespaces "x" not found'),
        (503, "unavailable"),
        # An API server that has just started does not know the roles yet.
        (403, 'deployments.apps is forbidden: User "system:serviceaccount:a:b" cannot patch resource "deployments"'),
    ],
)
def test_what_passes_by_itself_is_tried_again(code, message):
    assert isinstance(answer(code, message), ClusterUnavailableError)


def test_a_namespace_that_goes_away_is_told_apart():
    refused = answer(403, "unable to create new content in namespace x because it is being terminated")
    assert isinstance(refused, ManifestRefusedError)
    assert refused.reason == "NamespaceTerminating"


def test_what_exists_already_is_no_error():
    assert isinstance(answer(409, "exists", "AlreadyExists"), _ExistsError)
