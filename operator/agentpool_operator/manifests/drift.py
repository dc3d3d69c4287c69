"""Does the object on the API server still say what was asked for?

Only what we own is compared: defaults the API server filled in, and fields others added, are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from agentpool_api.labels import APPLIED_HASH_ANNOTATION
from agentpool_api.quantity import size_bytes
from agentpool_operator.manifests.merge import MERGE_KEYS
from agentpool_operator.manifests.values import Manifest, digest


def stamped(manifest: Manifest) -> Manifest:
    """The manifest with a hash of itself as an annotation."""
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH_ANNOTATION: digest(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def holds(live: Any, wanted: Any, field: str = "") -> bool:
    """Whether everything in ``wanted`` is in ``live``.

    Lists of named things are compared item by item, others as a whole. Empty is as good as absent, for the API server
    drops empty objects. Quantities are compared by value: it writes 0.5 CPU as 500m.
    """
    if isinstance(wanted, Mapping):
        if not wanted:
            return live is None or isinstance(live, Mapping)
        return isinstance(live, Mapping) and all(holds(live.get(key), value, key) for key, value in wanted.items())
    if isinstance(wanted, list):
        return _holds_list(live or [], wanted, field)
    if live == wanted:
        return True
    return (wanted in ("", None) and live in ("", None)) or _same_quantity(live, wanted)


def _holds_list(live: Any, wanted: list[Any], field: str) -> bool:
    if not isinstance(live, list):
        return False
    key = MERGE_KEYS.get(field) or ("port" if field == "ports" else None)
    keyed = key is not None and all(isinstance(item, Mapping) and key in item for item in [*live, *wanted])
    if not keyed:
        return len(live) == len(wanted) and all(holds(a, b) for a, b in zip(live, wanted, strict=True))
    found = {item[key]: item for item in live}
    return all(item[key] in found and holds(found[item[key]], item) for item in wanted)


def _same_quantity(one: Any, other: Any) -> bool:
    if type(one) not in (str, int, float) or type(other) not in (str, int, float):
        return False
    first, second = _quantity(str(one)), _quantity(str(other))
    return first is not None and first == second


def _quantity(text: str) -> Decimal | None:
    """Value of a Kubernetes quantity; None when the text is none."""
    try:
        if text.endswith("m"):
            return Decimal(text[:-1]) / 1000
        return Decimal(size_bytes(text)) if text[-1:].isalpha() else Decimal(text)
    except (InvalidOperation, ValueError):
        return None
