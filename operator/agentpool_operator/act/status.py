"""How is a status written? Whole, by server-side apply, and only when it says something new."""

from __future__ import annotations

from typing import Any

from agentpool_api.labels import API_VERSION
from agentpool_api.schema import ApiModel
from agentpool_operator.act.api import Api


async def patch_status(api: Api, resource: Any, body: dict[str, Any], status: ApiModel) -> dict[str, Any] | None:
    """Write the status unless the object says the same. Returns the object as written, None when nothing was to do."""
    wanted = status.manifest()
    if (body.get("status") or {}) == wanted:
        return None
    metadata = body["metadata"]
    manifest = {
        "apiVersion": API_VERSION,
        "kind": body["kind"],
        # The UID makes a status for a pool that was deleted and made anew fail instead of landing on the new one.
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
        "status": wanted,
    }
    return await api.apply(resource.Status, manifest)
