"""How are writes sent to the API server, and what do its refusals mean?

Every write goes through here: it is counted, sent only while the Lease is ours, and its errors are told apart into
those a retry helps with and those only the user can mend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.types import PatchType

from agentpool_api.labels import FIELD_MANAGER
from agentpool_operator import metrics
from agentpool_operator.errors import ClusterUnavailableError, LeaseLostError, ManifestRefusedError


class Api:
    """Writes to the API server."""

    def __init__(self, client: AsyncClient, held_s: Callable[[], float]) -> None:
        """``held_s`` tells for how many more seconds the Lease is ours."""
        self._client = client
        self._held_s = held_s

    async def apply(self, resource: Any, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply of the fields the manifest names; takes them over from whoever set them."""
        metadata = manifest["metadata"]
        return await self._call(
            "apply",
            manifest["kind"],
            lambda: self._client.patch(
                resource,
                metadata["name"],
                dict(manifest),
                namespace=metadata["namespace"],
                patch_type=PatchType.APPLY,
                field_manager=FIELD_MANAGER,
                force=True,
            ),
        )

    async def create(self, resource: Any, manifest: Mapping[str, Any]) -> bool:
        """Create; False when it was there already."""
        try:
            await self._call(
                "create",
                manifest["kind"],
                lambda: self._client.create(resource(manifest), field_manager=FIELD_MANAGER),
            )
        except _ExistsError:
            return False
        return True

    async def patch(self, resource: Any, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """Merge patch; nothing happens when the object is gone."""
        await self._call(
            "patch",
            resource.__name__,
            lambda: self._client.patch(
                resource,
                name,
                dict(patch),
                namespace=namespace,
                patch_type=PatchType.MERGE,
                field_manager=FIELD_MANAGER,
            ),
        )

    async def fetch(self, resource: Any, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as it is now; None when there is none."""
        try:
            found: dict[str, Any] = await self._client.get(resource, name, namespace=namespace)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise _translated(error) from error
        except httpx2.HTTPError as error:
            raise ClusterUnavailableError(_text(error), _retry_after_s(error)) from error
        return found

    async def _call(self, verb: str, kind: str, send: Callable[[], Any]) -> dict[str, Any]:
        held_s = self._held_s()
        if held_s <= 0:
            raise LeaseLostError("the Lease is not held: nothing is written")
        try:
            # A write that waits for a connection must not go out when the Lease is no longer ours.
            async with asyncio.timeout(held_s):
                answer: dict[str, Any] = await send()
        except TimeoutError as error:
            metrics.API_WRITES.labels(verb, kind, "none").inc()
            raise LeaseLostError("the Lease has run out during a write") from error
        except ApiError as error:
            metrics.API_WRITES.labels(verb, kind, str(error.status.code)).inc()
            raise _translated(error) from error
        except httpx2.HTTPError as error:
            metrics.API_WRITES.labels(verb, kind, "none").inc()
            raise ClusterUnavailableError(_text(error), _retry_after_s(error)) from error
        metrics.API_WRITES.labels(verb, kind, "200").inc()
        return answer


class _ExistsError(Exception):
    """The object to create is there already."""


def _translated(error: ApiError) -> Exception:
    status = error.status
    if status.reason == "AlreadyExists":
        return _ExistsError()
    if status.code == 404:
        return ClusterUnavailableError(f"gone meanwhile: {status.message}")
    if status.code == 403 and "being terminated" in (status.message or ""):
        return ManifestRefusedError("NamespaceTerminating", "the namespace is being deleted: nothing new can be made")
    if status.code == 403 and " cannot " in (status.message or ""):
        # Our own rights: missing, or not known yet to an API server that has just started. No manifest mends that.
        return ClusterUnavailableError(f"not allowed: {status.message}")
    # A value of the wrong form in free-form parts, such as a quantity, is answered as an internal error.
    unconvertible = status.code == 500 and "convert" in (status.message or "")
    if status.code in (400, 403, 422) or unconvertible:
        return ManifestRefusedError("ManifestRefused", str(status.message))
    return ClusterUnavailableError(str(status.message), _retry_after_s(error))


def _retry_after_s(error: httpx2.HTTPError) -> float:
    """When the server asked us to come back; zero when it asked nothing, or in a form nobody uses here (a date)."""
    response: httpx2.Response | None = getattr(error, "response", None)
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else 0.0


def _text(error: Exception) -> str:
    return f"the API server cannot be reached: {error or type(error).__name__}"
