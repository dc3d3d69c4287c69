"""How are a pool's agents reached?"""

from __future__ import annotations

from agentpool_api.labels import RUNTIME_PORT
from agentpool_operator.manifests.values import Manifest, PoolValues, make_object, pod_selector


def make_service(values: PoolValues) -> Manifest:
    """The pool's Service: port 80 is the runtime, ``agent`` the user's own container when it serves."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": RUNTIME_PORT}]
    if values.spec.agent.port is not None:
        port = values.spec.agent.port if values.spec.agent.port != 80 else 8081
        ports.append({"name": "agent", "port": port, "protocol": "TCP", "targetPort": values.spec.agent.port})
    return make_object(
        values, "v1", "Service", values.name, spec={"selector": pod_selector(values.name), "ports": ports}
    )
