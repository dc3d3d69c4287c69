"""Do events flow? Each renewal of our Lease must come back through a watch of the same kind as all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kopf

_LEASES = ("coordination.k8s.io", "v1", "leases")


def register_canary(
    registry: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    *,
    lease: tuple[str, str],
    identity: str,
    seen: Callable[[], None],
) -> None:
    """Call ``seen`` whenever the Lease (namespace, name) is shown as held by us.

    The watch names the Lease, so a right to this one Lease is enough, and the nodes' own Leases are not sent to us.
    """
    settings.watching.field_selectors[_LEASES] = f"metadata.name={lease[1]}"

    async def on_lease(event: Any, **_: Any) -> None:
        body = event["object"]
        mine = (body.get("spec") or {}).get("holderIdentity") == identity
        if mine and body["metadata"].get("namespace") == lease[0] and event["type"] != "DELETED":
            seen()

    kopf.on.event(*_LEASES, registry=registry)(on_lease)
