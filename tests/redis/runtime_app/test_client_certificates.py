"""Endpoints that want to see a certificate of the pool's."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.redis.runtime_app.conftest import Start, until
from tests.redis.runtime_app.test_private_networks import trusting
from tests.redis.runtime_app.test_upstreams import status_of
from tests.redis.runtime_app.tls import Authority, TlsUpstream
from tests.redis.runtime_app.upstream import answer, completion


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "own")


class Demanding(TlsUpstream):
    """Notes who called."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(authority.demanding("DNS:localhost"))
        self.callers: list[str] = []
        self.script = self.note

    async def note(self, call: Any) -> None:
        shown = dict(part[0] for part in call.writer.get_extra_info("peercert")["subject"])
        self.callers.append(shown["commonName"])
        await answer(call, 200, orjson.dumps(completion()))


@pytest.fixture
async def demanding(authority: Authority) -> AsyncIterator[Demanding]:
    endpoint = Demanding(authority)
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


@pytest.fixture
def settings(demanding: Demanding, authority: Authority, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "ca.crt").write_text(authority.pem)
    raw = trusting(demanding)
    raw["models"][0]["endpoints"][0]["clientCertificateSecretName"] = "shown"
    return raw


async def test_the_endpoint_is_shown_the_certificate_of_its_secret(
    start: Start, demanding: Demanding, authority: Authority, settings: dict[str, Any], tmp_path: Path
) -> None:
    authority.issue_to(tmp_path / "shown", "first")
    runtime = await start(settings, AGENTPOOL_CA_DIR=str(tmp_path))
    await until(lambda: runtime.app.state.ready)
    assert await status_of(runtime.chat()) == 200
    assert demanding.callers == ["first"]


async def test_a_renewed_certificate_is_shown_without_a_restart_and_a_damaged_one_is_not(
    start: Start, demanding: Demanding, authority: Authority, settings: dict[str, Any], tmp_path: Path
) -> None:
    authority.issue_to(tmp_path / "shown", "first")
    runtime = await start(settings, AGENTPOOL_CA_DIR=str(tmp_path))
    (tmp_path / "shown" / "tls.crt").write_text("half a fil")
    await until(lambda: bool(runtime.app.state.problems))
    (problem,) = runtime.app.state.problems
    assert problem.field == "models[0].endpoints[0].clientCertificateSecretName"
    assert "no PEM certificate with its key" in problem.message
    assert await status_of(runtime.chat()) == 200
    authority.issue_to(tmp_path / "shown", "second")
    await until(lambda: not runtime.app.state.problems)
    assert await status_of(runtime.chat()) == 200
    assert demanding.callers == ["first", "second"]


async def test_a_missing_certificate_is_a_problem_and_an_error_that_names_the_setting(
    start: Start, demanding: Demanding, authority: Authority, settings: dict[str, Any], tmp_path: Path
) -> None:
    runtime = await start(settings | {"auth": {"enabled": False}}, AGENTPOOL_CA_DIR=str(tmp_path), POD_NAME="p-1")
    problem = runtime.app.state.problems[0]
    assert (problem.reason, problem.field) == (
        "SecretMissing",
        "spec.runtime.models[0].endpoints[0].clientCertificateSecretName",
    )
    assert not runtime.app.state.ready
    async with runtime.chat() as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (502, "upstream_disconnected")
        assert "clientCertificateSecretName" in error["message"]
    authority.issue_to(tmp_path / "shown", "late")
    await until(lambda: runtime.app.state.ready)
    assert await status_of(runtime.chat()) == 200
