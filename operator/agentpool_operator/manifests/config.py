"""Which configuration and identity do a pool's agents get?"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from agentpool_api.runtime_settings import CONFIG_PATH
from agentpool_operator.manifests.values import KEY_OF_POOL_SECRET, Manifest, PoolValues, make_object

CONFIG_FILE = PurePosixPath(CONFIG_PATH).name


def make_config_map(values: PoolValues) -> Manifest:
    """The runtime's configuration, as the one file it reads."""
    settings = values.spec.runtime.manifest()
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return make_object(values, "v1", "ConfigMap", values.config_name, data={CONFIG_FILE: text})


def make_service_account(values: PoolValues) -> Manifest:
    """An account of the pool's own, for those who want to give its agents rights elsewhere."""
    return make_object(values, "v1", "ServiceAccount", values.name, automountServiceAccountToken=False)


def make_key_secret(values: PoolValues, key: str) -> Manifest:
    """The key clients call the pool with."""
    return make_object(
        values, "v1", "Secret", values.key_secret_name, type="Opaque", stringData={KEY_OF_POOL_SECRET: key}
    )


def make_redis_secret(values: PoolValues) -> Manifest:
    """Where the agents find Redis, with its password."""
    data = {"url": values.redis.url} | ({"ca.crt": values.redis.ca_pem} if values.redis.ca_pem else {})
    return make_object(values, "v1", "Secret", values.redis_secret_name, type="Opaque", immutable=True, stringData=data)
