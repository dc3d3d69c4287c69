import pytest

from agent_runtime.pod.secrets import ANYBODY, Secrets
from agent_runtime.settings import load_process
from agentpool_api.runtime_settings import RuntimeSettings


def make(folder, raw=None, environ=None, **process) -> Secrets:
    env = {"AGENTPOOL_SECRETS_DIR": str(folder), "AGENTPOOL_POOL": "pool"} | process
    settings = RuntimeSettings.model_validate(raw or {})
    return Secrets(settings, load_process(env), environ or {})


def put(folder, secret: str, key: str, value: bytes) -> None:
    (folder / secret).mkdir(exist_ok=True)
    (folder / secret / key).write_bytes(value)


def test_every_value_of_the_secret_is_a_key_and_keys_are_different_tenants(tmp_path) -> None:
    put(tmp_path, "pool-key", "one", b"sk-one\n")
    put(tmp_path, "pool-key", "two", b"sk-two")
    secrets = make(tmp_path)
    one, two = secrets.tenant(b"Bearer sk-one"), secrets.tenant(b"bearer  sk-two")
    assert one and two and one != two


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"Bearer ", b"Bearer sk-on", b"Bearer sk-onee", b"Basic sk-one", b"sk-one", b"\xff \xff"]
)
def test_anything_else_is_refused(tmp_path, header: bytes) -> None:
    put(tmp_path, "pool-key", "one", b"sk-one")
    assert make(tmp_path).tenant(header) is None


def test_without_authentication_everybody_is_one_tenant(tmp_path) -> None:
    assert make(tmp_path, {"auth": {"enabled": False}}).tenant(b"") == ANYBODY


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"a\nb", b"\xff\xfe", "schlüssel".encode()])
def test_a_missing_or_unusable_key_is_a_problem_with_its_field(tmp_path, content: bytes | None) -> None:
    if content is not None:
        put(tmp_path, "pool-key", "one", content)
    secrets = make(tmp_path, POD_NAME="p")
    assert [problem.field for problem in secrets.problems] == ["spec.runtime.auth.secretName"]
    assert secrets.tenant(b"Bearer ") is None


def test_a_changed_secret_works_after_a_reload(tmp_path) -> None:
    put(tmp_path, "pool-key", "one", b"old")
    secrets = make(tmp_path)
    put(tmp_path, "pool-key", "one", b"new")
    secrets.reload()
    assert secrets.tenant(b"Bearer old") is None
    assert secrets.tenant(b"Bearer new")


def test_links_of_a_mounted_secret_are_not_keys(tmp_path) -> None:
    put(tmp_path, "pool-key", "..data", b"hidden")
    put(tmp_path, "pool-key", "one", b"shown")
    assert make(tmp_path).tenant(b"Bearer hidden") is None


def test_endpoint_keys_come_from_secrets_and_the_environment(tmp_path) -> None:
    put(tmp_path, "up", "api-key", b"sk-up\n")
    several = [{"url": "http://h/v1"}, {"url": "http://i/v1", "apiKeySecretRef": {"name": "up", "key": "second"}}]
    models = [
        {"name": "several", "endpoints": several},
        {"name": "a", "endpoint": "http://h/v1", "apiKeySecretRef": {"name": "up"}},
        {"name": "b", "endpoint": "http://h/v1", "apiKeyEnv": "UP"},
        {"name": "c", "endpoint": "http://h/v1"},
        {"name": "d", "endpoint": "http://h/v1", "apiKeySecretRef": {"name": "gone", "key": "k"}},
    ]
    secrets = make(tmp_path, {"models": models, "auth": {"enabled": False}}, {"UP": "sk-env"})
    assert [secrets.endpoint_key(index) for index in range(6)] == [None, None, "sk-up", "sk-env", None, None]
    assert [(problem.field, problem.reason) for problem in secrets.problems] == [
        ("models[0].endpoints[1].apiKeySecretRef", "SecretMissing"),
        ("models[4].apiKeySecretRef", "SecretMissing"),
    ]
    put(tmp_path, "up", "second", b"sk-second")
    secrets.reload()
    assert secrets.endpoint_key(1) == "sk-second"
