"""What the tests on a real node do with a namespace: make pools, look at them, wait, and call them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import openai

from demo.cluster_setup import Kubectl, example

MODELS = "models"
PATIENCE_S = 120.0
"""How long a test waits for what takes a few seconds on a machine with nothing else to do."""
LOADED = 10.0
"""By how much a busy machine may miss the goals of a quiet one, which docs/benchmarks.md states."""
ENDPOINT = f"http://simulated-model.{MODELS}:8080/v1"
Manifest = dict[str, Any]


def pool(name: str = "assistants", **spec: Any) -> Manifest:
    """The example pool with the shared endpoint, quick to drain, and these fields of its spec changed."""
    manifest = deepcopy(example("agentpool.yaml")[0])
    manifest["metadata"]["name"] = name
    manifest["spec"]["runtime"]["models"][0]["endpoint"] = ENDPOINT
    manifest["spec"] |= {"warmAgents": 0, **spec}
    return manifest


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace."""

    kubectl: Kubectl
    namespace: str

    def __call__(self, *arguments: str) -> str:
        """kubectl in this namespace."""
        return self.kubectl(*arguments, "--namespace", self.namespace)

    def apply(self, *manifests: Manifest) -> None:
        self.kubectl.apply(self.namespace, *manifests)

    def get(self, kind: str, name: str) -> Manifest:
        return dict(json.loads(self(*("get", kind, name, "--output", "json"))))

    def pods(self, pool: str = "assistants", *, ready: bool = True) -> list[str]:
        """Names of the pool's pods that are not on their way out; only ready ones unless told otherwise."""
        text = self("get", "pods", "--selector", f"agentpool.dev/pool={pool}", "--output", "json")
        return [
            item["metadata"]["name"]
            for item in json.loads(text)["items"]
            if "deletionTimestamp" not in item["metadata"] and (not ready or _is_ready(item))
        ]

    def condition(self, kind: str, name: str, type_: str) -> Manifest:
        """One condition of a resource; {} while there is none."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def wait(self, kind: str, name: str, condition: str, timeout_s: float = PATIENCE_S) -> None:
        """Return when the condition holds (``Ready`` or ``Ready=False``)."""
        self("wait", f"{kind}/{name}", f"--for=condition={condition}", f"--timeout={timeout_s:g}s")

    def events(self) -> list[Manifest]:
        return list(json.loads(self("get", "events", "--output", "json"))["items"])

    def window(self, budget: str, name: str = "daily") -> Manifest:
        """One window of a budget's status; {} while there is none."""
        windows = self.get("costbudget", budget).get("status", {}).get("windows", [])
        return next((window for window in windows if window["name"] == name), {})

    def spent_usd(self, budget: str) -> Decimal:
        """What the budget's pools have spent today, on agents and tokens."""
        return Decimal(self.window(budget).get("spent", "0"))

    def tokens_usd(self, budget: str) -> Decimal:
        """What the budget's pools have spent on tokens today."""
        return Decimal(self.window(budget).get("tokens", "0"))

    def openai(self, pool: str = "assistants", key: str | None = None) -> openai.OpenAI:
        """A client of the pool's Service, with the key the operator made unless another is given."""
        service = self.get("service", pool)
        if key is None:
            encoded = self("get", "secret", f"{pool}-key", "--output", "jsonpath={.data.api-key}")
            key = base64.b64decode(encoded).decode()
        port = next(port["port"] for port in service["spec"]["ports"] if port["name"] == "http")
        return openai.OpenAI(
            base_url=f"http://{service['spec']['clusterIP']}:{port}/v1",
            api_key=key,
            timeout=PATIENCE_S,
            default_headers={"Connection": "close"},
        )


def ask(client: openai.OpenAI, text: str, tokens: int = 10) -> str:
    """One whole answer."""
    answer = client.chat.completions.create(
        model="small-model", max_tokens=tokens, messages=[{"role": "user", "content": text}]
    )
    return answer.choices[0].message.content or ""


def eventually(what: str, holds: Callable[[], Any], timeout_s: float = PATIENCE_S, every_s: float = 0.25) -> float:
    """Seconds until ``holds`` gave something true. Fails naming ``what`` when it never did."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < timeout_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(every_s)
    return time.monotonic() - began_s


def _is_ready(pod: Manifest) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
