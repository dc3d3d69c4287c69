"""A plan from what the operator recorded: its Redis, its pool on a real API server, the user's kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agentpool_api import keys
from agentpool_operator.decide.history import History, seed, to_bytes
from agentpool_operator.reconcile.memory import Facts
from cluster.toolchain import tool_path
from tests.api.pools import Pool
from tests.api.support import ROOT, Operator, Redis, until


def test_a_plan_comes_from_the_pool_and_the_traffic_in_redis(
    operator: Operator, pool: Pool, redis_server: Redis, namespace: str, tmp_path: Path
) -> None:
    pool.apply(maxAgents=7, agent={"image": "mine:1", "concurrency": 4})
    key = keys.memory(namespace, pool.name)
    until(lambda: redis_server.client.hget(key, "facts"), "the operator to remember the pool")
    operator.close()  # it would write its own arrivals over these within the minute
    facts = Facts(uid="any", service_s=4.0, startup_s=12.0)
    history = seed(History(), [30.0] * 240, now_s=1_800_000_000)
    redis_server.client.hset(key, mapping={"facts": facts.model_dump_json(), "arrivals": to_bytes(history)})
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'operator'}",
        "KUBECONFIG": str(pool.cluster.plane.kubeconfig),
    }
    # There is no kubelet here: what would run in the operator's container runs beside the test.
    (tmp_path / "kubectl").write_text(
        f'#!/bin/sh\nif [ "$1" != exec ]; then exec {tool_path("kubectl")} "$@"; fi\n'
        f"while [ $1 != python ]; do shift; done; shift\n"
        f'AGENTPOOL_RUNTIME_IMAGE=r:1 AGENTPOOL_REDIS_URL={redis_server.url} exec {sys.executable} "$@"\n'
    )
    (tmp_path / "kubectl").chmod(0o755)
    command = [sys.executable, "-c", "import sys; from agentpool_operator.plan.command import main; sys.exit(main())"]

    def plan(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "plan", "--from-pool", name, "-n", namespace],
            env=environment, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip

    done = plan(pool.name)
    assert done.returncode == 0, done.stderr
    assert f"{pool.name}: 2 to 7 agents of 4 tasks, 12 s to start" in done.stdout
    assert "7,200 tasks of 4.0 s on average in 4 hours" in done.stdout
    unknown = plan("other")
    assert unknown.returncode == 2
    assert "not found" in unknown.stderr
    assert "Traceback" not in unknown.stderr
