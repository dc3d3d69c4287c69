"""The demonstration, from an empty machine to a plot: ``make demo``, and ``make demo-down`` to remove it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from lightkube import ApiError, AsyncClient
from rich.console import Console

from cluster.errors import ClusterError
from cluster.paths import REPO
from demo.cluster_setup import (
    BUDGET,
    CLUSTER,
    POOL,
    RELEASE_NAMESPACE,
    Endpoint,
    Kubectl,
    apply_examples,
    bring_up_cluster,
    entry_url,
    example,
    install_release,
    pool_key,
)
from demo.display import Display
from demo.observation import Snapshot, client, observe
from demo.plot import draw
from demo.story import Event, checks, new_events, should_raise_limit, summary
from demo.trace import Request, plan_requests, read_trace
from demo.traffic import Client, Tally

SPEED = 6.0
"""Trace seconds per second; the simulated endpoint answers as much faster."""
SHARE = 0.5
"""Part of the trace's requests that is sent, so that a laptop keeps up."""
REPEATED = 0.2
"""Part of the requests that repeats a frequent question: an assumption, see demo/trace.py."""
RAISED_DAILY_USD = "1.20"
TAIL_S = 60.0
"""Longest wait for the agents to go when the work is done."""
OUTPUT = REPO / "demo-output"


@dataclass(slots=True)
class Run:
    """What was seen and done during the replay."""

    tally: Tally = field(default_factory=Tally)
    snapshots: list[Snapshot] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    raised_at_s: float | None = None

    def add(self, snapshot: Snapshot) -> None:
        self.events += new_events(self.snapshots[-1] if self.snapshots else None, snapshot)
        self.snapshots.append(snapshot)


def main(arguments: Sequence[str]) -> int:
    """0: the story happened. 1: it did not, or something is missing: the last line says what. 130: interrupted."""
    console = Console(soft_wrap=True, highlight=False)
    if arguments:
        console.print("usage: python -m demo, without arguments; `make demo-down` removes its cluster")
        return 2
    try:
        return demonstrate(console)
    except ClusterError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\ninterrupted; the cluster is as it was: `make demo` goes on, `make demo-down` removes it")
        return 130


def demonstrate(console: Console) -> int:
    """All of it, in order."""
    began_s = time.monotonic()
    endpoint = Endpoint.from_environment(os.environ)
    requests = plan_requests(
        read_trace(REPO / "examples" / "trace" / "azure-llm-conversations-2023.csv"),
        speed=SPEED,
        share=SHARE,
        repeated=REPEATED,
    )
    kubectl, images = bring_up_cluster(CLUSTER)
    install_release(kubectl, images)
    namespace = time.strftime("demo-%H%M%S")
    apply_examples(kubectl, namespace, endpoint, SPEED)
    url = entry_url(kubectl, namespace)
    where = f"model endpoint {endpoint.url}" if endpoint else "a simulated model endpoint"
    console.print(f"up in {time.monotonic() - began_s:.0f} s; {len(requests)} requests of the trace against {where}\n")
    run = Run()
    with Display(console, "agentpool", requests[-1].at_s) as display:
        asyncio.run(_replay(run, requests, kubectl, namespace, url, display))
    return _conclude(console, run, requests[-1].at_s, kubectl, namespace)


async def _replay(
    run: Run, requests: Sequence[Request], kubectl: Kubectl, namespace: str, url: str, display: Display
) -> None:
    model = example("agentpool.yaml")[0]["spec"]["runtime"]["models"][0]["name"]
    api = client(kubectl.kubeconfig)
    began_s = time.monotonic()
    async with Client(url, pool_key(kubectl, namespace), model, run.tally) as clients:
        replay = asyncio.create_task(clients.replay(requests))
        try:
            while not replay.done() or not _at_rest(run, time.monotonic() - began_s - requests[-1].at_s):
                await asyncio.sleep(1)
                await _look(run, api, namespace, time.monotonic() - began_s, display)
                if run.raised_at_s is None and should_raise_limit(run.snapshots):
                    await asyncio.to_thread(_raise_limit, kubectl, namespace, display)
                    run.raised_at_s = time.monotonic() - began_s
                    run.events.append(Event(run.raised_at_s, f"limit raised to {RAISED_DAILY_USD} USD"))
        finally:
            replay.cancel()
        await asyncio.gather(replay, return_exceptions=True)


async def _look(run: Run, api: AsyncClient, namespace: str, at_s: float, display: Display) -> None:
    tally = run.tally
    try:
        snapshot = await observe(api, namespace, POOL, BUDGET, at_s=at_s, sent=tally.sent, in_flight=tally.in_flight)
    except (ApiError, httpx2.HTTPError) as error:
        display.tell(f"{at_s:4.0f} s  the API server did not answer: {error}")
        return
    run.add(snapshot)
    display.show(snapshot, tally, run.events)


def _at_rest(run: Run, tail_s: float) -> bool:
    """Have the agents gone after the work, or is it time to stop waiting?"""
    smallest = example("agentpool.yaml")[0]["spec"]["minAgents"]
    gone = bool(run.snapshots) and run.snapshots[-1].ready <= smallest and not run.tally.in_flight
    return tail_s > TAIL_S or (gone and tail_s > 5)


def _raise_limit(kubectl: Kubectl, namespace: str, display: Display) -> None:
    patch = f'{{"spec": {{"limits": {{"daily": "{RAISED_DAILY_USD}"}}}}}}'
    display.tell(f"$ kubectl -n {namespace} patch costbudget {BUDGET} --type merge -p '{patch}'")
    kubectl("patch", "costbudget", BUDGET, "--namespace", namespace, "--type", "merge", "--patch", patch)


def _conclude(console: Console, run: Run, replay_s: float, kubectl: Kubectl, namespace: str) -> int:
    pool, budget = example("agentpool.yaml")[0]["spec"], example("costbudget.yaml")[0]["spec"]
    console.print("\n[bold]What happened[/bold]")
    for event in sorted(run.events, key=lambda event: event.at_s):
        console.print(f"  {event.at_s:4.0f} s  {event.text}")
    console.print("\n[bold]Figures[/bold]")
    for text in summary(run.snapshots, run.tally):
        console.print(f"  {text}")
    paths = draw(
        run.snapshots,
        sorted(run.events, key=lambda event: event.at_s),
        concurrency=pool["agent"]["concurrency"],
        scale_down_percent=budget["scaleDownPercent"],
        folder=OUTPUT,
    )
    console.print("  plot: " + ", ".join(_short(path) for path in paths))
    console.print("\n[bold]Look further[/bold]")
    for command in (
        f"export KUBECONFIG={kubectl.kubeconfig}",
        f"kubectl -n {namespace} get agentpools,costbudgets,pods",
        f"kubectl -n {namespace} describe agentpool {POOL}",
        f"kubectl -n {namespace} get costbudget {BUDGET} -o yaml",
        f"kubectl -n {RELEASE_NAMESPACE} logs deployment/agentpool-operator",
        "make demo-down",
    ):
        console.print(f"  {command}")
    verdicts = checks(run.snapshots, run.tally, run.raised_at_s, replay_s, pool["minAgents"])
    console.print("\n[bold]Verdict[/bold]")
    for check in verdicts:
        console.print(f"  {'[green]yes[/green]' if check.kept else '[red]NO[/red] '}  {check.promise}: {check.seen}")
    kept = sum(check.kept for check in verdicts)
    console.print(f"{kept} of {len(verdicts)} promises kept")
    return 0 if kept == len(verdicts) else 1


def _short(path: Path) -> str:
    return str(path.relative_to(REPO))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
