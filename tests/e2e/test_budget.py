"""A budget on a real node: what is spent is counted to the cent, and its actions come and go in seconds."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

from tests.e2e.place import LOADED, Manifest, Place, ask, eventually, pool

PRICE = {"inputPerMillion": "0", "outputPerMillion": "1000"}
"""A hundred tokens cost ten cents, whatever the question."""


def budget(daily: str) -> Manifest:
    spec = {"limits": {"daily": daily}, "scaleDownPercent": 80, "alertPercents": [50, 80, 100]}
    return {"apiVersion": "agentpool.dev/v1alpha1", "kind": "CostBudget", "metadata": {"name": "b"}, "spec": spec}


def set_limit(place: Place, daily: str) -> None:
    patch = json.dumps({"spec": {"limits": {"daily": daily}}})
    place("patch", "costbudget", "b", "--type=merge", f"--patch={patch}")


def expensive_pool(**spec: Any) -> Manifest:
    settings: dict[str, Any] = {"minAgents": 1, "replicas": 3} | spec
    manifest = pool(**settings)
    manifest["spec"]["runtime"]["models"][0]["price"] = PRICE
    return manifest


def is_in_force(place: Place, condition: str) -> bool:
    return bool(place.condition("costbudget", "b", condition).get("status") == "True")


def test_a_budget_scales_down_is_raised_shuts_down_and_recovers(place: Place) -> None:
    place.apply(budget("1.00"), expensive_pool())
    eventually("three agents", lambda: len(place.pods()) == 3)
    client = place.openai()
    for number in range(7):
        ask(client, f"question {number}", tokens=100)
    eventually("seventy cents in the status", lambda: place.tokens_usd("b") == Decimal("0.70"))
    assert not is_in_force(place, "ScaleDown")
    ask(client, "the question that crosses the threshold", tokens=100)
    crossed_s = time.monotonic()
    eventually("ScaleDown", lambda: is_in_force(place, "ScaleDown"))
    written_s = time.monotonic() - crossed_s
    eventually("one agent", lambda: len(place.pods()) == 1)
    gone_s = time.monotonic() - crossed_s
    print(f"limit crossed to condition: {written_s:.1f} s, to agents gone: {gone_s:.1f} s")
    assert written_s <= 3 * LOADED
    assert gone_s <= 10 * LOADED
    assert place.condition("agentpool", "assistants", "BudgetLimited")["status"] == "True"
    assert ask(client, "still served", tokens=5)

    set_limit(place, "10.00")
    eventually("the scale-down is undone", lambda: not is_in_force(place, "ScaleDown"))
    eventually("three agents again", lambda: len(place.pods()) == 3)

    set_limit(place, "0.50")
    eventually("the shutdown", lambda: is_in_force(place, "EmergencyShutdown"))
    eventually("no agent", lambda: not place.pods(ready=False))
    level = place("get", "costbudget", "b").splitlines()[1]
    assert "EmergencyShutdown" in level

    set_limit(place, "10.00")
    eventually("the shutdown is undone", lambda: not is_in_force(place, "EmergencyShutdown"))
    eventually("agents serve again", lambda: len(place.pods()) == 3)
    assert ask(place.openai(), "after the shutdown", tokens=5)


def test_each_alert_is_an_event_once(place: Place) -> None:
    place.apply(budget("1.00"), expensive_pool(replicas=1))
    place.wait("agentpool", "assistants", "Ready")
    client = place.openai()
    for number in range(6):
        ask(client, f"question {number}", tokens=100)
    eventually("sixty cents", lambda: place.tokens_usd("b") == Decimal("0.60"))
    time.sleep(4)  # two more passes of the operator
    alerts = [event for event in place.events() if event["reason"] == "BudgetAlert"]
    assert [(event["message"][:4], event.get("series")) for event in alerts] == [("50 %", None)]


def test_a_budget_that_selects_nothing_says_so(place: Place) -> None:
    manifest = budget("1.00")
    manifest["spec"]["selector"] = {"matchLabels": {"team": "nobody"}}
    place.apply(manifest)
    place.wait("costbudget", "b", "Ready=False")
    assert place.condition("costbudget", "b", "Ready")["reason"] == "NoPoolsSelected"


def test_agents_time_costs_money_too(place: Place) -> None:
    place.apply(budget("1.00"), expensive_pool(cost={"onDemandPerHour": "360.00", "spotPerHour": "360.00"}, replicas=1))
    place.wait("agentpool", "assistants", "Ready")
    first = Decimal(place.window("b").get("agents", "0"))
    eventually("a dime a second", lambda: Decimal(place.window("b")["agents"]) >= first + Decimal("0.3"))
