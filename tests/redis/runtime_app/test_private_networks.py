"""Endpoints behind private certificate authorities and proxies, and names that do not exist."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_runtime.models import pool
from agent_runtime.models.proxies import proxy_for
from tests.redis.runtime_app.conftest import Start, until
from tests.redis.runtime_app.test_upstreams import error_of, served_by, status_of
from tests.redis.runtime_app.tls import Authority, Proxy, TlsUpstream


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki") / "own")


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[TlsUpstream]:
    endpoint = TlsUpstream(authority.serving("DNS:localhost"))
    await endpoint.start()
    yield endpoint
    await endpoint.stop()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    made = Proxy()
    await made.start()
    yield made
    await made.stop()


def trusting(endpoint: TlsUpstream, **connections: Any) -> dict[str, Any]:
    return served_by(endpoint, authorities={"configMapName": "company"}, retries=0, **connections)


async def test_an_endpoint_of_a_private_authority_is_trusted_when_the_pool_names_it(
    start: Start, secure: TlsUpstream, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_text(authority.pem)
    runtime = await start(trusting(secure), AGENTPOOL_CA_DIR=str(tmp_path))
    await until(lambda: runtime.app.state.ready)
    assert await status_of(runtime.chat()) == 200
    assert await runtime.metric("agentpool_runtime_upstream_connections_opened") == 1
    assert secure.asked_names == ["localhost"]


async def test_without_the_authority_the_endpoint_is_refused_with_what_to_check(
    start: Start, secure: TlsUpstream
) -> None:
    runtime = await start(served_by(secure, retries=0))
    status, code, _ = await error_of(runtime.chat())
    assert (status, code) == (502, "upstream_tls_error")
    assert secure.calls == []
    await until(lambda: bool(runtime.app.state.problems))
    (problem,) = runtime.app.state.problems
    assert problem.field == "models[0].endpoints[0].url"
    assert "certificate is not trusted" in problem.message
    assert not runtime.app.state.ready


async def test_a_certificate_for_another_name_is_refused_unless_that_name_is_asked_for(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_text(authority.pem)
    endpoint = TlsUpstream(authority.serving("DNS:models.internal"))
    await endpoint.start()
    try:
        raw = trusting(endpoint)
        runtime = await start(raw, AGENTPOOL_CA_DIR=str(tmp_path))
        assert (await error_of(runtime.chat()))[:2] == (502, "upstream_tls_error")
        raw["models"][0]["endpoints"][0]["tlsServerName"] = "models.internal"
        runtime = await start(raw, AGENTPOOL_CA_DIR=str(tmp_path))
        assert await status_of(runtime.chat()) == 200
        assert endpoint.asked_names[-1] == "models.internal"
    finally:
        await endpoint.stop()


async def test_authorities_that_come_later_are_taken_up_without_a_restart(
    start: Start, secure: TlsUpstream, authority: Authority, tmp_path: Path
) -> None:
    raw = trusting(secure) | {"auth": {"enabled": False}}
    runtime = await start(raw, AGENTPOOL_CA_DIR=str(tmp_path), POD_NAME="p-1")
    await until(lambda: len(runtime.app.state.problems) == 2)
    assert {problem.field for problem in runtime.app.state.problems} == {
        "spec.runtime.connections.authorities",
        "spec.runtime.models[0].endpoints[0].url",
    }
    assert await status_of(runtime.chat()) == 502
    (tmp_path / "ca.crt").write_text("no certificate")
    await until(lambda: "no PEM" in runtime.app.state.problems[0].message)
    (tmp_path / "ca.crt").write_text(authority.pem)
    await until(lambda: runtime.app.state.ready)
    assert await status_of(runtime.chat()) == 200


@pytest.mark.parametrize("where", ["settings", "environment"])
async def test_calls_go_through_the_proxy(
    start: Start, secure: TlsUpstream, proxy: Proxy, authority: Authority, tmp_path: Path, where: str, monkeypatch
) -> None:
    (tmp_path / "ca.crt").write_text(authority.pem)
    own = {"proxy": f"http://{proxy.address}"} if where == "settings" else {}
    if where == "environment":
        environ = {"HTTPS_PROXY": f"http://me:secret@{proxy.address}"}
        monkeypatch.setattr(pool, "proxy_for", lambda url, own, no, _: proxy_for(url, own, no, environ))
    runtime = await start(trusting(secure, **own), AGENTPOOL_CA_DIR=str(tmp_path))
    await until(lambda: runtime.app.state.ready)
    for number in range(3):
        assert await status_of(runtime.chat(str(number))) == 200
    assert proxy.tunnels == [secure.url.split("/")[2]]
    assert proxy.credentials == [None if where == "settings" else "basic bwu6c2vjcmv0"]


async def test_a_host_of_no_proxy_is_reached_straight(
    start: Start, secure: TlsUpstream, proxy: Proxy, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "ca.crt").write_text(authority.pem)
    raw = trusting(secure, proxy=f"http://{proxy.address}", noProxy=["localhost"])
    runtime = await start(raw, AGENTPOOL_CA_DIR=str(tmp_path))
    assert await status_of(runtime.chat()) == 200
    assert proxy.tunnels == []


async def test_a_proxy_that_is_not_there_is_named(start: Start, secure: TlsUpstream) -> None:
    runtime = await start(served_by(secure, proxy="http://127.0.0.1:9", retries=0))
    async with runtime.chat() as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (502, "upstream_unreachable")
        assert "connections.proxy" in error["message"]


async def test_a_name_nobody_knows_is_an_error_that_says_so(start: Start) -> None:
    places = [{"url": "http://nobody.invalid/v1"}]
    raw = {"models": [{"name": "chat", "endpoints": places}], "connections": {"retries": 0}}
    runtime = await start(raw)
    async with runtime.chat() as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (502, "upstream_unreachable")
        assert "DNS" in error["message"]
