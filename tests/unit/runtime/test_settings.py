import json

import pytest

from agent_runtime.errors import RuntimeSetupError
from agent_runtime.settings import load_process, load_settings, parse_settings

MODEL = {"name": "m", "endpoint": "https://host/v1"}


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        pytest.param([], "must be a mapping", id="not-a-mapping"),
        pytest.param({"models": [{"name": "m"}]}, "models[0].endpoint", id="missing-field"),
        pytest.param({"models": [{"name": "m", "endpoint": "ftp://x"}]}, "models[0].endpoint", id="scheme"),
        pytest.param({"models": [{"name": "m", "endpoint": "http://"}]}, "models[0].endpoint", id="no-host"),
        pytest.param({"models": [{"name": "m", "endpoint": "http://h:99999/v1"}]}, "models[0].endpoint", id="port"),
        pytest.param({"models": [MODEL, MODEL]}, "models[1].name", id="same-name"),
        pytest.param(
            {"models": [MODEL | {"apiKeyEnv": "A", "apiKeySecretRef": {"name": "s"}}]}, "not both", id="two-keys"
        ),
        pytest.param({"connections": {"total": 1, "perHost": 2}}, "connections.perHost", id="per-host-above-total"),
        pytest.param(
            {"models": [MODEL | {"endpoints": [{"url": "https://h/v1"}]}]}, "models[0].endpoint", id="both-forms"
        ),
        pytest.param({"models": [{"name": "m", "endpoints": []}]}, "models[0].endpoints", id="no-endpoints"),
        pytest.param(
            {"models": [{"name": "m", "apiKeyEnv": "A", "endpoints": [{"url": "https://h/v1"}]}]},
            "each one names its own key",
            id="key-beside-endpoints",
        ),
        pytest.param(
            {"models": [{"name": "m", "endpoints": [{"url": "https://h/v1"}, {"url": "http://:1/v1"}]}]},
            "models[0].endpoints[1].url",
            id="second-endpoint",
        ),
        pytest.param(
            {
                "models": [
                    {
                        "name": "m",
                        "endpoints": [{"url": "https://h", "apiKeyEnv": "A", "apiKeySecretRef": {"name": "s"}}],
                    }
                ]
            },
            "models[0].endpoints[0]: set",
            id="two-keys-of-an-endpoint",
        ),
        pytest.param({"connections": {"warm": 3, "perHost": 2}}, "connections.warm", id="warm-above-per-host"),
        pytest.param({"connections": {"proxy": "http://me:secret@proxy"}}, "connections.proxy", id="proxy-password"),
        pytest.param({"connections": {"authorities": {}}}, "connections.authorities", id="no-source-of-authorities"),
        pytest.param({"connections": {"tokenTimeout": "0s"}}, "connections.tokenTimeout", id="zero-token-timeout"),
        pytest.param({"connections": {"breaker": {"openFor": "0s"}}}, "breaker.openFor", id="zero-open-time"),
        pytest.param({"connections": {"timeout": "0"}}, "connections.timeout", id="zero-timeout"),
        pytest.param({"connections": {"timeout": "soon"}}, "connections.timeout", id="no-duration"),
        pytest.param({"cache": {"ttl": "0s"}}, "cache.ttl", id="zero-ttl"),
        pytest.param({"cache": {"maxEntries": 0}}, "cache.maxEntries", id="range"),
        pytest.param({"limits": {"maxBodySize": "0"}}, "limits.maxBodySize", id="zero-body"),
        pytest.param({"limits": {"maxQueue": 1}}, "limits.maxQueue: no such field", id="misspelt-nested"),
        pytest.param({"telemetry": {"tracing": {"endpoint": "http://h:0"}}}, "tracing.endpoint", id="collector"),
        pytest.param({"telemetry": {"tracing": {"samplePercent": 101}}}, "samplePercent", id="sample-range"),
        pytest.param({"model": []}, "model: no such field", id="misspelt"),
        pytest.param({"models": [MODEL | {"url": 1}]}, "models[0].url: no such field", id="misspelt-in-list"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line_that_names_it(raw: object, names: str) -> None:
    with pytest.raises(RuntimeSetupError) as error:
        parse_settings(raw, refuse_unknown=True)
    assert names in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_field_is_ignored_in_a_pod_because_a_newer_operator_may_write_it() -> None:
    assert parse_settings({"future": 1}, refuse_unknown=False).models == []


def test_yaml_and_json_files_mean_the_same(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("models: [{name: m, endpoint: 'https://host/v1'}]\n")
    (tmp_path / "a.json").write_text(json.dumps({"models": [MODEL]}))
    loaded = [load_settings(tmp_path / name, refuse_unknown=True) for name in ("a.yaml", "a.json")]
    assert loaded[0] == loaded[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.yaml", b"models: ["), ("a.json", b'{"models": '), ("a.yaml", b"\xff\xfe"), ("a.yaml", b"a: b: c")],
)
def test_a_file_that_cannot_be_parsed_says_where(tmp_path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RuntimeSetupError, match=name):
        load_settings(tmp_path / name, refuse_unknown=True)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(RuntimeSetupError, match="nowhere"):
        load_settings(tmp_path / "nowhere.yaml", refuse_unknown=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENTPOOL_CONCURRENCY", "0"),
        ("AGENTPOOL_CONCURRENCY", "four"),
        ("AGENTPOOL_CONCURRENCY", "2.5"),
        ("AGENTPOOL_PORT", "65536"),
        ("AGENTPOOL_DRAIN_TIMEOUT_S", "nan"),
        ("AGENTPOOL_DRAIN_TIMEOUT_S", "-1"),
        ("AGENTPOOL_LOG_FORMAT", "xml"),
        ("AGENTPOOL_REDIS_URL", "http://h"),
        ("AGENTPOOL_REDIS_URL", "redis://h/x"),
    ],
)
def test_a_bad_environment_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(RuntimeSetupError, match=name):
        load_process({name: value})


def test_the_redis_password_is_never_quoted() -> None:
    with pytest.raises(RuntimeSetupError) as error:
        load_process({"AGENTPOOL_REDIS_URL": "redis://:hunter2@h/x"})
    assert "hunter2" not in str(error.value)


def test_a_pod_is_told_apart_from_a_laptop() -> None:
    pod = load_process({"POD_NAME": "p-1", "POD_UID": "u", "POD_NAMESPACE": "ns", "AGENTPOOL_POOL": "pool"})
    laptop = load_process({})
    assert (pod.in_cluster, pod.host, pod.log_format, pod.field_prefix) == (True, "0.0.0.0", "json", "spec.runtime.")
    assert (laptop.in_cluster, laptop.host, laptop.log_format, laptop.field_prefix) == (False, "127.0.0.1", "text", "")
    assert laptop.concurrency == 4
