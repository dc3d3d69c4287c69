"""What does a cluster know of a pool: its manifest, and the traffic its operator recorded?

Asked with the user's own kubectl: its context, its credentials, its rights. The manifest is read like any object; the
traffic by a command in the operator's container, since only that reaches Redis. The replay runs here, not there.
"""

from __future__ import annotations

import shutil
import subprocess

from agentpool_operator.plan.errors import PlanInputError

OPERATOR = "agentpool-system/agentpool-operator"
ANSWER_S = 60.0


def pool_manifest(name: str, namespace: str) -> str:
    """The AgentPool as YAML."""
    return _kubectl(["get", "agentpools.agentpool.dev", name, "--namespace", namespace, "--output", "yaml"])


def recorded_traffic(name: str, namespace: str, operator: str = OPERATOR) -> str:
    """The traffic as CSV. `operator` is namespace/name of its Deployment."""
    at, _, deployment = operator.rpartition("/")
    command = ["python", "-m", "agentpool_operator.recorded", namespace, name]
    return _kubectl(["exec", f"deployment/{deployment}", "--namespace", at, "--", *command])


def _kubectl(arguments: list[str]) -> str:
    """What kubectl printed. Raises PlanInputError with its own word when it failed."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise PlanInputError("kubectl is not on the PATH: --from-pool asks the cluster with it")
    try:
        done = subprocess.run(  # noqa: S603 - the user's own kubectl, and no shell
            [kubectl, *arguments], capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise PlanInputError(f"kubectl {arguments[0]} did not answer within {ANSWER_S:g} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("command terminated")]
        raise PlanInputError(f"kubectl {arguments[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout
