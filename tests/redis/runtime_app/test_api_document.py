"""The API against its own OpenAPI document, by schemathesis: no request gets a 5xx, nor an answer that breaks it.

``FUZZ_EXAMPLES`` sets how many requests are tried per call.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from agent_runtime.http.routes import ROUTES, Route
from tests.redis.runtime_app.conftest import BEARER, KEY, RedisServer, Runtime, Start, settings_for
from tests.redis.runtime_app.upstream import Upstream

ROOT = Path(__file__).parents[3]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))


async def fuzz(runtime: Runtime, folder: Path) -> tuple[int | None, str]:
    """Exit code and output of one run."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{runtime.root}/openapi.json"]
    command += ["-H", f"Authorization: Bearer {KEY}", "-n", str(EXAMPLES), "--request-timeout", "60", "--no-color"]
    command += ["--suppress-health-check", "too_slow"]  # a busy machine is no defect
    # On CI a change is judged by what it does and not by chance.
    command += ["--generation-deterministic"] if os.environ.get("CI") == "true" else ["--generation-database", "none"]
    command += [
        "--max-failures",
        "5",
        "--exclude-path-regex",
        "^/debug/",
        "--phases",
        "examples,coverage,fuzzing",
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env=os.environ | {"SCHEMATHESIS_HOOKS": "tests.redis.runtime_app.fuzz_hooks", "PYTHONPATH": str(ROOT)},
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.timeout(300)
async def test_no_request_makes_the_api_fail(
    start: Start, upstream: Upstream, redis_server: RedisServer, tmp_path: Path
) -> None:
    semantic = {"enabled": True, "match": "Fuzzy"}
    runtime = await start(settings_for(upstream.url, cache={"semantic": semantic}), redis_url=redis_server.url)
    code, output = await fuzz(runtime, tmp_path)
    assert code == 0, output
    assert runtime.app.state.unexpected_errors == 0


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_each_call_of_the_document_is_there_and_no_other_method(runtime: Runtime, route: Route) -> None:
    url = runtime.root + route.path.replace("{name}", "chat")
    headers = BEARER if route.needs_key else {}
    async with runtime.session.request(route.method, url, headers=headers) as response:
        assert response.status in (200, 400) or ("{id}" in route.path and response.status == 404)
    allowed = [method for one in ROUTES if one.path == route.path for method in one.methods]
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(allowed):
        async with runtime.session.request(method, url, headers=headers) as response:
            assert (response.status, response.headers["allow"]) == (405, ", ".join(allowed))
    if route.needs_key:
        async with runtime.session.request(route.method, url) as response:
            assert response.status == 401


async def test_the_document_names_the_pools_models(runtime: Runtime) -> None:
    async with runtime.session.get(f"{runtime.root}/openapi.json") as response:
        told = await response.json()
    assert told["openapi"] == "3.1.0" and told["components"]["schemas"]["ModelName"]["enum"] == ["chat", "embed"]
    assert set(told["paths"]) == {route.path for route in ROUTES}
