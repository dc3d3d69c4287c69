"""How does the cluster come to hold a pool's objects?

An object is written only when it is missing, was made from something else, or no longer says what was asked for.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from agentpool_api.labels import APPLIED_HASH_ANNOTATION
from agentpool_operator.act.api import Api
from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.kinds import AGENT_POOL, DEPLOYMENT, MANAGED, SECRET
from agentpool_operator.manifests.config import make_key_secret, make_redis_secret
from agentpool_operator.manifests.drift import holds, stamped
from agentpool_operator.manifests.values import Manifest, PoolValues, digest

log = structlog.get_logger(__name__)

Live = dict[str, Any] | None
"""An object as last seen; None when it is not there."""

KEY_BYTES = 32
SECRET_ARRIVES_S = 120.0
"""A kubelet brings a new Secret into running pods within this."""


@dataclass(slots=True)
class AppliedState:
    """What was written for one pool by this process."""

    secrets: dict[str, float] = field(default_factory=dict)
    """Secrets known to exist, and when (Unix seconds) that was found out."""
    written: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """Kind and name → hash of what was asked for and of what came of it."""


def forget_missing(state: AppliedState, missing: Iterable[str], now_s: float) -> bool:
    """Have Secrets that agents miss made again; whether there are any. One made just now may be on its way to them."""
    lost = [name for name in missing if not 0 <= now_s - state.secrets.get(name, -math.inf) < SECRET_ARRIVES_S]
    for name in lost:
        state.secrets.pop(name, None)
    return bool(lost)


async def apply_secrets(api: Api, values: PoolValues, state: AppliedState, *, now_s: float) -> None:
    """Make the pool's Secrets where they are missing. They are never read and never changed."""
    wanted = [values.redis_secret_name]
    if values.spec.runtime.auth.enabled and values.auth_secret_name == values.key_secret_name:
        wanted.append(values.key_secret_name)
    for name in wanted:
        if name in state.secrets:
            continue
        is_key = name == values.key_secret_name
        manifest = make_key_secret(values, new_key()) if is_key else make_redis_secret(values)
        created = await api.create(SECRET, manifest)
        if created:
            log.info("secret created", namespace=values.namespace, secret=name)
        state.secrets[name] = now_s


def new_key() -> str:
    """A pool key of 256 random bits."""
    return f"ap-{secrets.token_urlsafe(KEY_BYTES)}"


def unwritten(wanted: Iterable[tuple[Manifest, Live]], state: AppliedState) -> list[tuple[Manifest, Live]]:
    """What must be written, ready for it; ``wanted`` pairs each manifest with the object as last seen."""
    stamps = [(stamped(manifest), live) for manifest, live in wanted]
    return [(stamp, live) for stamp, live in stamps if needs_write(stamp, live, state)]


async def apply_objects(
    api: Api, pool_uid: str, stamps: Iterable[tuple[Manifest, Live]], state: AppliedState
) -> AsyncIterator[dict[str, Any]]:
    """Make each object as its manifest, of ``unwritten``, says. Yields what was written.

    Raises ManifestRefusedError when an object of that name is not the pool's, or the API server refuses it.
    """
    for stamp, live in stamps:
        kind, metadata = stamp["kind"], stamp["metadata"]
        resource = MANAGED[kind]
        if live is None:
            # The watch shows only our own: a stranger of the same name must be neither taken over nor changed.
            live = await api.fetch(resource, metadata["namespace"], metadata["name"])
        if live is not None and not _owned_by(live, pool_uid):
            raise _name_taken(live, stamp)
        result = await api.apply(resource, stamp)
        state.written[kind, metadata["name"]] = (_hash_of(stamp), _content(result))
        yield result


async def apply_replicas(api: Api, deployment: dict[str, Any], replicas: int) -> None:
    """Change nothing but the size: what else is wanted was refused, and a budget must act all the same."""
    metadata = deployment["metadata"]
    if deployment["spec"].get("replicas") != replicas:
        await api.patch(DEPLOYMENT, metadata["namespace"], metadata["name"], {"spec": {"replicas": replicas}})


async def publish_size(api: Api, pool: dict[str, Any], agents: int) -> None:
    """Write the size into the pool's scale, where an autoscaler reads it first; refused when the pool has changed
    since, for somebody may have set a number."""
    metadata = pool["metadata"]
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": {"replicas": agents}}
    await api.patch(AGENT_POOL.Scale, metadata["namespace"], metadata["name"], patch)


def needs_write(stamp: Manifest, live: Live, state: AppliedState) -> bool:
    """Whether the object must be written.

    What was already written once with this very outcome is left alone, or a value the API server writes in its own way
    would be written again for ever.
    """
    if live is None:
        return True
    done = state.written.get((stamp["kind"], stamp["metadata"]["name"]))
    if done == (_hash_of(stamp), _content(live)):
        return False
    same_source = (live["metadata"].get("annotations") or {}).get(APPLIED_HASH_ANNOTATION) == _hash_of(stamp)
    return not (same_source and holds(live, stamp))


def _hash_of(stamp: Manifest) -> str:
    return str(stamp["metadata"]["annotations"][APPLIED_HASH_ANNOTATION])


def _name_taken(live: dict[str, Any], stamp: Manifest) -> ManifestRefusedError:
    owners = [(owner["kind"], owner["name"]) for owner in live["metadata"].get("ownerReferences") or []]
    name = f"{stamp['kind']} {stamp['metadata']['name']}"
    if [(owner["kind"], owner["name"]) for owner in stamp["metadata"]["ownerReferences"]] == owners:
        message = f"{name} is of the deleted pool of this name: Kubernetes is about to remove it"
        return ManifestRefusedError("PreviousPoolEnding", message, passes=True)
    message = f"{name} exists and is not this pool's: remove it, or give the pool another name"
    return ManifestRefusedError("NameTaken", message)


def _owned_by(live: dict[str, Any], uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in live["metadata"].get("ownerReferences") or [])


def _content(live: dict[str, Any]) -> str:
    """Hash of what a person or program could have changed: not the status, not the server's bookkeeping."""
    metadata = live["metadata"]
    kept = {name: metadata.get(name) for name in ("labels", "annotations", "ownerReferences")}
    rest = {name: value for name, value in live.items() if name not in ("metadata", "status", "apiVersion", "kind")}
    return digest([kept, rest])
