"""What is one agent of a pool?"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from agentpool_api.fields import FreeForm
from agentpool_api.quantity import Duration
from agentpool_api.schema import ApiModel
from agentpool_api.upstreams import DnsName, EnvName


class EnvVar(ApiModel):
    """An environment variable of the agent's container, as in a Pod."""

    name: EnvName
    """Name of the variable."""
    value: Annotated[str, StringConstraints(max_length=32768)] | None = None
    """Its value; or else `valueFrom`."""
    value_from: FreeForm | None = None
    """Where the value comes from: a Secret, a ConfigMap or a field of the pod."""


class Agent(ApiModel):
    """What one agent is: the runtime alone, or a container of the user's beside it."""

    cel_rules: ClassVar[tuple[tuple[str, str], ...]] = (
        (
            "has(self.image) || !(has(self.command) || has(self.args) || has(self.env) || has(self.port))",
            "command, args, env and port belong to a container of your own: set agent.image, or remove them",
        ),
        ("!has(self.port) || self.port != 8080", "port 8080 is the runtime's: give your container another port"),
    )

    image: Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\s]+$")] | None = None
    """Image of your agent. It runs beside the runtime, which it reaches by OPENAI_BASE_URL and OPENAI_API_KEY. Without
    an image the runtime itself is the agent."""
    command: Annotated[list[str], Field(max_length=64)] | None = None
    """Entry point in place of your image's."""
    args: Annotated[list[str], Field(max_length=64)] | None = None
    """Arguments in place of your image's."""
    env: Annotated[list[EnvVar], Field(max_length=256)] | None = None
    """Environment of your agent's container."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port your agent serves on; the pool's Service offers it as `agent`."""
    resources: FreeForm | None = None
    """Requests and limits of your agent's container, as in a Pod."""
    runtime_resources: FreeForm | None = None
    """Requests and limits of the runtime's container; 100m CPU, 128Mi to 512Mi of memory when absent."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Requests one agent works on at once; more wait in its queue."""
    drain_timeout: Duration = "30m"
    """How long a leaving agent may finish its work."""
    service_account_name: DnsName | None = None
    """ServiceAccount of the pods; `default` without rights when absent."""
    create_service_account: bool = False
    """Make a ServiceAccount named like the pool and run the pods as it."""
    pod_template: FreeForm | None = None
    """Metadata and spec laid over the pods' template, for node selectors, volumes and the like."""
