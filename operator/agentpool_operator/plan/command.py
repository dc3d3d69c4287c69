"""What does `agentpool plan` read, and what does it print?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from agentpool_api.quantity import duration_s
from agentpool_operator.plan.cluster import OPERATOR
from agentpool_operator.plan.errors import PlanInputError

LONGEST_STARTUP_S = 3600.0
QUIET_S = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, or 2 after one line on stderr that says what to change."""
    parser = _parser()
    options = parser.parse_args(arguments)
    missing = [name for name in ("numpy", "tzdata") if find_spec(name) is None]
    if missing:
        sys.stderr.write(f"agentpool: {missing[0]} is missing: pip install 'agentpool[operator]'\n")
        return 2
    try:
        _plan(options)
    except PlanInputError as error:
        sys.stderr.write(f"agentpool: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nagentpool: stopped\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agentpool", description="Tools around pools of agents.")
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser(
        "plan",
        help="replay traffic against a manifest and compare scaling rules",
        description="Replays recorded traffic against a pool's manifest with the operator's own decision code. Prints "
        "agent hours, cost and waiting beside a HorizontalPodAutoscaler's, KEDA's and the operator's other policy.",
    )
    plan.add_argument("-f", "--filename", type=Path, metavar="POOL", help="YAML file with one AgentPool")
    plan.add_argument(
        "--trace",
        type=Path,
        metavar="CSV",
        help="traffic: t_s or timestamp, count, and service_s or prompt_mean and completion_mean",
    )
    plan.add_argument(
        "--from-pool",
        metavar="NAME",
        help="a pool of the cluster kubectl points at: its manifest, unless -f names another, and its recorded traffic",
    )
    plan.add_argument("-n", "--namespace", default="default", help="namespace of that pool (default)")
    plan.add_argument(
        "--operator", default=OPERATOR, metavar="NAMESPACE/NAME", help=f"the operator's Deployment ({OPERATOR})"
    )
    plan.add_argument(
        "--startup", type=_startup_s, metavar="TIME", help="until a new agent serves (as recorded, or 45s)"
    )
    plan.add_argument(
        "--service-time", type=_service_s, metavar="TIME", help="mean time of a task, in place of the trace's columns"
    )
    plan.add_argument("--output", type=Path, metavar="FOLDER", help="where to write plan.svg and plan.png")
    return parser


def _startup_s(text: str) -> float:
    seconds = _seconds(text)
    if seconds > LONGEST_STARTUP_S:
        raise argparse.ArgumentTypeError(f"{text} is longer than an hour")
    return seconds


def _service_s(text: str) -> float:
    seconds = _seconds(text)
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} must be over 0 and at most a day, for example 4s")
    return seconds


def _seconds(text: str) -> float:
    try:
        return duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _plan(options: argparse.Namespace) -> None:
    # Late, because they need numpy, which comes with the extra `operator`.
    from agentpool_operator.plan.inputs import read_inputs
    from agentpool_operator.plan.manifest import parse_pool
    from agentpool_operator.plan.outcome import PoolTerms
    from agentpool_operator.plan.replay import replay
    from agentpool_operator.plan.report import heading, row, table
    from agentpool_operator.plan.rules import rules_to_compare
    from agentpool_operator.plan.tasks import make_tasks
    from agentpool_operator.plan.trace import parse_trace

    pool, traffic = read_inputs(options)
    name, spec, policy = parse_pool(pool.text, pool.source)
    trace = parse_trace(traffic.text, traffic.source, service_s=options.service_time)
    if policy.schedules and not trace.dated:
        raise PlanInputError(
            f"{traffic.source}:1: the pool has schedules, and t_s tells no time of day: use a column timestamp"
        )
    tasks = make_tasks(trace)
    terms = PoolTerms(
        concurrency=spec.agent.concurrency,
        min_agents=spec.min_agents,
        max_agents=spec.max_agents,
        startup_s=traffic.startup_s if options.startup is None else options.startup,
        drain_timeout_s=duration_s(spec.agent.drain_timeout),
    )
    sys.stdout.write(heading(name, traffic.name, tasks, policy, terms) + "\n\n")
    sys.stdout.flush()
    outcomes = [replay(tasks, rule, terms, _progress(rule.name)) for rule in rules_to_compare(policy, terms)]
    rows = [row(outcome, policy) for outcome in outcomes]
    sys.stdout.write(table(rows, target_wait_s=policy.target_wait_s) + "\n")
    if options.output is None:
        return
    if find_spec("matplotlib") is None:
        sys.stderr.write("agentpool: no plot without matplotlib: pip install 'agentpool[demo]'\n")
        return
    from agentpool_operator.plan.plot import draw

    title = f"{name} under {traffic.name}"
    try:
        paths = draw(tasks, outcomes, concurrency=terms.concurrency, title=title, folder=options.output)
    except OSError as error:
        raise PlanInputError(f"{options.output}: {error.strerror}: name a folder that can be written") from None
    sys.stdout.write("".join(f"wrote {path}\n" for path in paths))


def _progress(rule: str) -> Callable[[float], None]:
    """Tells stderr how far a replay is: a line that renews itself on a terminal, else a line every few seconds."""
    terminal = sys.stderr.isatty()
    told_at_s = monotonic()

    def tell(share: float) -> None:
        nonlocal told_at_s
        if terminal:
            sys.stderr.write("\r\033[K" + (f"{rule}: {share:.0%}" if share < 1 else ""))
            sys.stderr.flush()
        elif monotonic() - told_at_s >= QUIET_S:
            told_at_s = monotonic()
            sys.stderr.write(f"{rule}: {share:.0%}\n")

    return tell
