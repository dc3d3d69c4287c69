"""What is one agent's pod?"""

from __future__ import annotations

import math
from typing import Any

from agentpool_api import keys
from agentpool_api.labels import (
    AGENT_CONTAINER,
    CAPACITY_TYPE_LABEL,
    CONFIG_HASH_ANNOTATION,
    RUNTIME_CONTAINER,
    RUNTIME_PORT,
)
from agentpool_api.quantity import duration_s, size_bytes
from agentpool_api.runtime_settings import CA_DIR, CACHE_DIR, CONFIG_PATH, EXACT_QUESTIONS, SECRETS_DIR
from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.manifests.config import make_config_map
from agentpool_operator.manifests.merge import merged
from agentpool_operator.manifests.placement import make_placement
from agentpool_operator.manifests.values import KEY_OF_POOL_SECRET, Manifest, PoolValues, digest, pool_labels

NON_ROOT = 65532
"""User and group of distroless images."""

SETTLE_S = 10
"""Time between the end of draining and the kernel's kill: to settle, hand back and exit."""

CACHE_SPARE_BYTES = 64 * 1024 * 1024
"""Room beside the cached answers, with a quarter of theirs, for SQLite's pages and its log, which holds what a large
eviction moves: a pod above its volume's sizeLimit is evicted."""

DEFAULT_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}

_REDIS_CA_PATH = "/etc/agentpool-redis"


def make_pod_template(values: PoolValues, capacity_type: str) -> Manifest:
    """The template of one Deployment, with the user's overlay.

    Raises ManifestRefusedError when the overlay does not fit.
    """
    labels = {**pool_labels(values.name), CAPACITY_TYPE_LABEL: capacity_type}
    template = {
        "metadata": {
            "labels": labels,
            "annotations": {CONFIG_HASH_ANNOTATION: digest(make_config_map(values)["data"])},
        },
        "spec": _pod_spec(values, capacity_type),
    }
    overlay = values.spec.agent.pod_template
    if overlay:
        template = merged(template, overlay, "spec.agent.podTemplate")
        template["metadata"]["labels"] |= labels  # the selectors hang on them
    return template


def _pod_spec(values: PoolValues, capacity_type: str) -> dict[str, Any]:
    agent = values.spec.agent
    spec: dict[str, Any] = {
        "terminationGracePeriodSeconds": math.ceil(duration_s(agent.drain_timeout)) + SETTLE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NON_ROOT,
            "runAsGroup": NON_ROOT,
            "fsGroup": NON_ROOT,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_runtime_container(values, capacity_type)],
        "volumes": _volumes(values),
        **make_placement(values.spec.spot, values.name, capacity_type),
    }
    if agent.image is not None:
        spec["initContainers"] = [_beside(runtime) for runtime in spec["containers"]]
        spec["containers"] = [_agent_container(values, agent.image)]
    if values.service_account_name is not None:
        spec["serviceAccountName"] = values.service_account_name
    if values.runtime.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in values.runtime.pull_secrets]
    return spec


def _runtime_container(values: PoolValues, capacity_type: str) -> dict[str, Any]:
    return {
        "name": RUNTIME_CONTAINER,
        "image": _image(values),
        "imagePullPolicy": values.runtime.pull_policy,
        "args": ["--config", CONFIG_PATH],
        "env": _runtime_env(values, capacity_type),
        "ports": [{"name": "http", "containerPort": RUNTIME_PORT, "protocol": "TCP"}],
        "resources": values.spec.agent.runtime_resources or DEFAULT_RESOURCES,
        "securityContext": _restricted(read_only=True),
        "startupProbe": _probe("/healthz", period_s=1, failures=60),
        "livenessProbe": _probe("/healthz", period_s=10, failures=3),
        "readinessProbe": _probe("/readyz", period_s=1, failures=3),
        "volumeMounts": _runtime_mounts(values),
    }


def _image(values: PoolValues) -> str:
    """The lean image, or the one with the encoder for a pool that compares questions by meaning with it.

    Raises ManifestRefusedError when there is none: without it the agents could only crash.
    """
    cache, semantic = values.spec.runtime.cache, values.spec.runtime.cache.semantic
    compares = cache.enabled and semantic.enabled and semantic.match == "Learned"
    if not compares or (semantic.embedder is not None and semantic.max_entries <= EXACT_QUESTIONS):
        return values.runtime.image
    if not values.runtime.semantic_image:
        raise ManifestRefusedError(
            "SemanticImageMissing",
            "spec.runtime.cache.semantic.match: Learned needs the runtime with the encoder, and the operator was "
            "given none: set images.semantic.repository of the chart, or match to Fuzzy or DomainWeighted, or name a "
            f"model of the pool in cache.semantic.embedder (with maxEntries of {EXACT_QUESTIONS} at most)",
        )
    return values.runtime.semantic_image


def _beside(runtime: dict[str, Any]) -> dict[str, Any]:
    """The runtime as a sidecar container (KEP-753): it serves before the user's agent starts and until it has ended,
    so an agent that leaves can finish its work. When the pod is told to go, the hook takes the runtime out of service
    for everybody else; its own SIGTERM comes when the agent has ended."""
    leave = {"preStop": {"exec": {"command": ["/bin/sh", "-c", "kill -USR1 1"]}}}
    return runtime | {"restartPolicy": "Always", "lifecycle": leave}


def _runtime_env(values: PoolValues, capacity_type: str) -> list[dict[str, Any]]:
    agent = values.spec.agent
    env: list[dict[str, Any]] = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "AGENTPOOL_POOL", "value": values.name},
        {"name": "AGENTPOOL_CAPACITY_TYPE", "value": capacity_type},
        {"name": "AGENTPOOL_CONCURRENCY", "value": str(agent.concurrency)},
        {"name": "AGENTPOOL_DRAIN_TIMEOUT_S", "value": f"{duration_s(agent.drain_timeout):g}"},
        {"name": "AGENTPOOL_REDIS_URL", "valueFrom": _secret_key(values.redis_secret_name, "url")},
    ]
    if values.redis.ca_pem:
        env.append({"name": "AGENTPOOL_REDIS_CA_FILE", "value": f"{_REDIS_CA_PATH}/ca.crt"})
    return env


def _agent_container(values: PoolValues, image: str) -> dict[str, Any]:
    agent = values.spec.agent
    key: dict[str, Any] = {"name": "OPENAI_API_KEY", "value": "none"}
    if values.spec.runtime.auth.enabled:
        reference = _secret_key(values.auth_secret_name, KEY_OF_POOL_SECRET, optional=True)
        key = {"name": "OPENAI_API_KEY", "valueFrom": reference}
    own = [variable.manifest() for variable in agent.env or []]
    named = {variable["name"] for variable in own}
    ours = [{"name": "OPENAI_BASE_URL", "value": f"http://127.0.0.1:{RUNTIME_PORT}/v1"}, key, *_queue_env(values)]
    container: dict[str, Any] = {
        "name": AGENT_CONTAINER,
        "image": image,
        "env": [variable for variable in ours if variable["name"] not in named] + own,
        # The user's image may need to write beside its mounts; all the rest stays restricted.
        "securityContext": _restricted(read_only=False),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a path inside the pod
    }
    if values.redis.ca_pem and values.spec.scaling.queue is not None:
        container["env"].append({"name": "AGENTPOOL_QUEUE_REDIS_CA_FILE", "value": f"{_REDIS_CA_PATH}/ca.crt"})
        container["volumeMounts"].append({"name": "redis-ca", "mountPath": _REDIS_CA_PATH, "readOnly": True})
    optional = {"command": agent.command, "args": agent.args, "resources": agent.resources}
    container |= {name: value for name, value in optional.items() if value is not None}
    if agent.port is not None:
        container["ports"] = [{"name": "agent", "containerPort": agent.port, "protocol": "TCP"}]
    return container


def _queue_env(values: PoolValues) -> list[dict[str, Any]]:
    """Where an agent of the user's finds the queue. As a consumer it is named like its pod: so it is known which pods
    hold tasks, and those are the last to go."""
    queue = values.spec.scaling.queue
    if queue is None:
        return []
    return [
        {"name": "AGENTPOOL_QUEUE_STREAM", "value": keys.queue(values.namespace, queue.stream)},
        {"name": "AGENTPOOL_QUEUE_GROUP", "value": queue.group},
        {"name": "AGENTPOOL_QUEUE_CONSUMER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "AGENTPOOL_QUEUE_REDIS_URL", "valueFrom": _secret_key(values.redis_secret_name, "url")},
    ]


def mounted_secrets(values: PoolValues) -> list[str]:
    """Secrets the runtime reads as files, each once."""
    endpoints = [endpoint for model in values.spec.runtime.models for endpoint in model.served_by]
    names = [at.api_key_secret_ref.name for at in endpoints if at.api_key_secret_ref is not None]
    names += [at.client_certificate_secret_name for at in endpoints if at.client_certificate_secret_name is not None]
    if values.spec.runtime.auth.enabled:
        names.append(values.auth_secret_name)
    return list(dict.fromkeys(names))


def _volumes(values: PoolValues) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": values.config_name}},
        {"name": "tmp", "emptyDir": {}},
    ]
    # Optional: the runtime itself says which Secret is missing, and the pod starts once it is there.
    for place, name in enumerate(mounted_secrets(values)):
        volumes.append({"name": f"secret-{place}", "secret": {"secretName": name, "optional": True}})
    if values.redis.ca_pem:
        items = [{"key": "ca.crt", "path": "ca.crt"}]
        volumes.append({"name": "redis-ca", "secret": {"secretName": values.redis_secret_name, "items": items}})
    if (source := _authorities(values)) is not None:
        volumes.append({"name": "authorities", **source})
    if cache_bytes := size_bytes(values.spec.runtime.cache.disk_size):
        limit = cache_bytes * 5 // 4 + CACHE_SPARE_BYTES
        volumes.append({"name": "cache", "emptyDir": {"sizeLimit": str(limit)}})
    return volumes


def _runtime_mounts(values: PoolValues) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "config", "mountPath": CONFIG_PATH.rpartition("/")[0], "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path inside the pod
    ]
    for place, name in enumerate(mounted_secrets(values)):
        mounts.append({"name": f"secret-{place}", "mountPath": f"{SECRETS_DIR}/{name}", "readOnly": True})
    if values.redis.ca_pem:
        mounts.append({"name": "redis-ca", "mountPath": _REDIS_CA_PATH, "readOnly": True})
    if _authorities(values) is not None:
        mounts.append({"name": "authorities", "mountPath": CA_DIR, "readOnly": True})
    if size_bytes(values.spec.runtime.cache.disk_size):
        mounts.append({"name": "cache", "mountPath": CACHE_DIR})
    return mounts


def _authorities(values: PoolValues) -> dict[str, Any] | None:
    """The volume source of the certificate authorities; optional as Secrets are: the runtime says what is missing."""
    own = values.spec.runtime.connections.authorities
    if own is None:
        return None
    items = [{"key": own.key, "path": own.key}]
    if own.config_map_name is not None:
        return {"configMap": {"name": own.config_map_name, "items": items, "optional": True}}
    return {"secret": {"secretName": own.secret_name, "items": items, "optional": True}}


def _secret_key(secret: str, key: str, *, optional: bool = False) -> dict[str, Any]:
    return {"secretKeyRef": {"name": secret, "key": key} | ({"optional": True} if optional else {})}


def _restricted(*, read_only: bool) -> dict[str, Any]:
    context: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return context | ({"readOnlyRootFilesystem": True} if read_only else {})


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": RUNTIME_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
