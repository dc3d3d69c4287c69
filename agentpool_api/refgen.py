"""What does the reference of the resources say? The models, as tables for a reader.

``python -m agentpool_api.refgen FILE`` writes it; a test fails while the committed file is older than the models.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentpool_api.crdgen import agentpool_crd, costbudget_crd

Schema = dict[str, Any]


def reference_markdown() -> str:
    """The whole page."""
    parts = [
        "# Reference",
        "",
        "Generated from the models by `make crds`; do not edit. `kubectl explain agentpool.spec` says the same.",
    ]
    for crd in (agentpool_crd(), costbudget_crd()):
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        names = crd["spec"]["names"]
        parts += ["", f"## {names['kind']} (`{names['shortNames'][0]}`)", "", schema["description"]]
        for section in ("spec", "status"):
            parts += ["", f"### {section}", "", *_table(schema["properties"][section], section)]
        parts += ["", "### Rules", "", *_rules(schema["properties"]["spec"])]
    return "\n".join(parts) + "\n"


def _table(schema: Schema, section: str) -> list[str]:
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for path, node, required in _fields(schema, section):
        default = "required" if required else _default(node)
        rows.append(f"| `{path}` | {_type(node)} | {default} | {_cell(node.get('description', ''))} |")
    return rows


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    for name, node in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, node, name in schema.get("required", [])
        yield from _fields(node, here)
        if isinstance(node.get("items"), dict):
            yield from _fields(node["items"], f"{here}[]")


def _rules(schema: Schema) -> list[str]:
    messages = [f"- {rule['message']}" for rule in schema.get("x-kubernetes-validations", [])]
    for node in [*schema.get("properties", {}).values(), schema.get("items")]:
        if isinstance(node, dict):
            messages += _rules(node)
    return messages


def _type(node: Schema) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if node.get("type") == "array":
        return f"list of {_type(node['items'])}"
    kind = str(node.get("type", "object"))
    low, high = node.get("minimum"), node.get("maximum")
    return f"{kind}, {low} to {high}" if low is not None and high is not None else kind


def _default(node: Schema) -> str:
    default = node.get("default")
    return "" if default is None or isinstance(default, dict) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_markdown(), encoding="utf-8")
