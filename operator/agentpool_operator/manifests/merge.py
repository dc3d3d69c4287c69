"""How is a user's overlay laid over a pod template? Like a strategic merge patch.

Objects merge key by key, null removes. Lists of named things (containers by name, mounts by path) merge item by item;
any other list is replaced whole. Merge keys as in the Kubernetes API (``patchMergeKey`` of core/v1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentpool_operator.errors import ManifestRefusedError

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
}


def merged(base: Any, overlay: Any, path: str, field: str = "") -> Any:
    """``base`` with ``overlay`` laid over it; neither is changed.

    ``path`` names the overlay in messages, ``field`` is the last name in it. Raises ManifestRefusedError when an object
    meets something that is none, or a named item has no name.
    """
    if isinstance(base, dict):
        if not isinstance(overlay, Mapping):
            raise _refused(path, f"must be an object, not {_kind(overlay)}")
        return _merged_object(base, overlay, path)
    if isinstance(base, list):
        if not isinstance(overlay, list):
            raise _refused(path, f"must be a list, not {_kind(overlay)}")
        key = MERGE_KEYS.get(field)
        return _merged_list(base, overlay, path, key) if key else overlay
    return overlay


def _merged_object(base: Mapping[str, Any], overlay: Mapping[str, Any], path: str) -> dict[str, Any]:
    result = dict(base)
    for name, value in overlay.items():
        if value is None:
            result.pop(name, None)
        elif name in base:
            result[name] = merged(base[name], value, f"{path}.{name}", name)
        else:
            result[name] = value
    return result


def _merged_list(base: list[Any], overlay: list[Any], path: str, key: str) -> list[Any]:
    result = list(base)
    places = {item[key]: place for place, item in enumerate(base)}
    for index, item in enumerate(overlay):
        here = f"{path}[{index}]"
        if not isinstance(item, Mapping) or key not in item:
            raise _refused(here, f"needs a {key} to tell which entry it changes")
        place = places.get(item[key])
        if place is None:
            result.append(dict(item))
        else:
            result[place] = merged(result[place], item, here)
    return result


def _refused(path: str, what: str) -> ManifestRefusedError:
    return ManifestRefusedError("InvalidPodTemplate", f"{path} {what}")


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "a yes or no"}.get(type(value), "a number")
