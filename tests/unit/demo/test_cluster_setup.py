"""One line of configuration points the demo to a real endpoint; half a line is refused."""

from __future__ import annotations

import pytest

from cluster.errors import ClusterError
from demo.cluster_setup import Endpoint


def test_without_an_address_the_endpoint_is_the_simulation() -> None:
    assert Endpoint.from_environment({}) is None
    assert Endpoint.from_environment({"MODEL_API_KEY": "k", "MODEL_NAME": "m"}) is None


def test_address_name_and_key_make_a_real_endpoint() -> None:
    environment = {"MODEL_ENDPOINT": "https://models.example.com/v1", "MODEL_NAME": "m", "MODEL_API_KEY": "k"}
    assert Endpoint.from_environment(environment) == Endpoint("https://models.example.com/v1", "m", "k")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({"MODEL_ENDPOINT": "https://m.example.com/v1"}, "set MODEL_API_KEY", id="no key"),
        pytest.param({"MODEL_ENDPOINT": "models.example.com", "MODEL_API_KEY": "k"}, "https://", id="no scheme"),
    ],
)
def test_half_a_configuration_is_refused(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        Endpoint.from_environment(environment)
