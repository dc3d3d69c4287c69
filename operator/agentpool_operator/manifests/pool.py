"""Which objects should exist for a pool?"""

from __future__ import annotations

from agentpool_operator.decide.split import CapacitySplit
from agentpool_operator.manifests.config import make_config_map, make_service_account
from agentpool_operator.manifests.deployment import make_deployments
from agentpool_operator.manifests.disruption import make_disruption_budget
from agentpool_operator.manifests.service import make_service
from agentpool_operator.manifests.values import Manifest, PoolValues


def make_pool_objects(values: PoolValues, split: CapacitySplit) -> list[Manifest]:
    """Everything but the Secrets, in the order in which it must be there. Raises ManifestRefusedError."""
    account = [make_service_account(values)] if values.spec.agent.create_service_account else []
    return [
        make_config_map(values),
        make_service(values),
        make_disruption_budget(values),
        *account,
        *make_deployments(values, split),
    ]
