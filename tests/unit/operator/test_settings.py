import pytest

from agentpool_operator.errors import SettingsError
from agentpool_operator.settings import read_settings

GOOD = {
    "AGENTPOOL_NAMESPACE": "agents",
    "AGENTPOOL_RUNTIME_IMAGE": "runtime:1",
    "AGENTPOOL_REDIS_URL": "redis://redis:6379/0",
}


def test_defaults_serve_all_namespaces():
    settings = read_settings(GOOD)
    assert settings.namespaces == ()
    assert settings.lease_namespace == "agents"
    assert settings.period_s == 2.0
    assert settings.agents_redis == settings.redis


def test_each_process_has_an_identity_of_its_own():
    environment = GOOD | {"AGENTPOOL_POD_NAME": "operator-0"}
    one, other = read_settings(environment), read_settings(environment)
    assert one.identity.startswith("operator-0_")
    assert one.identity != other.identity


@pytest.mark.parametrize(
    ("namespaces", "home"),
    [("agents,b", "agents"), ("b, c", "b"), ("", "agents")],
    ids=["own namespace is served", "own namespace is not served", "all are served"],
)
def test_the_lease_lives_where_it_is_watched(namespaces, home):
    assert read_settings(GOOD | {"AGENTPOOL_NAMESPACES": namespaces}).lease_namespace == home


def test_the_password_goes_into_the_url_and_out_of_sight():
    settings = read_settings(GOOD | {"AGENTPOOL_REDIS_PASSWORD": "p@ss/word"})
    assert settings.redis.url == "redis://:p%40ss%2Fword@redis:6379/0"
    assert "p%40ss" not in repr(settings)


def test_agents_may_reach_redis_by_another_address():
    settings = read_settings(GOOD | {"AGENTPOOL_RUNTIME_REDIS_URL": "rediss://outside:6380/1"})
    assert settings.agents_redis.url == "rediss://outside:6380/1"
    assert settings.agents_redis.digest != settings.redis.digest


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("AGENTPOOL_RUNTIME_IMAGE", " ", "AGENTPOOL_RUNTIME_IMAGE is not set"),
        ("AGENTPOOL_REDIS_URL", "", "AGENTPOOL_REDIS_URL is not set"),
        ("AGENTPOOL_REDIS_URL", "http://redis", "write redis://host:6379/0"),
        ("AGENTPOOL_REDIS_URL", "redis://", "write redis://host:6379/0"),
        ("AGENTPOOL_NAMESPACE", "Agents", "lower-case"),
        ("AGENTPOOL_NAMESPACES", "a,B_", "'B_'"),
        ("AGENTPOOL_HTTP_PORT", "80x", "whole number from 0 to 65535"),
        ("AGENTPOOL_HTTP_PORT", "70000", "whole number from 0 to 65535"),
        ("AGENTPOOL_PERIOD", "2", "write it like 90s"),
        ("AGENTPOOL_PERIOD", "1h", "use 0.2s to 60s"),
        ("AGENTPOOL_WORKERS", "0", "whole number from 1 to 256"),
        ("AGENTPOOL_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("AGENTPOOL_LOG_FORMAT", "xml", "json, text"),
        ("AGENTPOOL_RUNTIME_IMAGE_PULL_POLICY", "Sometimes", "Always, IfNotPresent, Never"),
        ("AGENTPOOL_REDIS_CA_FILE", "/nowhere/ca.pem", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_write(variable, value, says):
    with pytest.raises(SettingsError, match="AGENTPOOL_") as refused:
        read_settings(GOOD | {variable: value})
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
