"""Where do a plan's manifest and traffic come from: files, a cluster, or one of each?"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from agentpool_operator.plan.cluster import pool_manifest, recorded_traffic
from agentpool_operator.plan.errors import PlanInputError, read_text

UNKNOWN_STARTUP_S = 45.0


@dataclass(frozen=True, slots=True)
class Input:
    """A text and where it is from."""

    source: str
    """Named in what is wrong with it."""
    text: str
    startup_s: float = UNKNOWN_STARTUP_S
    """The start-up time recorded beside traffic."""

    @property
    def name(self) -> str:
        """Short, for a heading."""
        return Path(self.source).name


def read_inputs(options: argparse.Namespace) -> tuple[Input, Input]:
    """The manifest and the traffic. A file stands in for what the cluster would be asked. Raises PlanInputError."""
    pool, at = options.from_pool, options.namespace
    if pool is None and (options.filename is None or options.trace is None):
        raise PlanInputError("give -f POOL and --trace CSV, or --from-pool NAME for what a cluster knows")
    source = f"pool {at}/{pool}"
    manifest = (
        Input(source, pool_manifest(pool, at))
        if options.filename is None
        else Input(str(options.filename), read_text(options.filename))
    )
    if options.trace is not None:
        return manifest, Input(str(options.trace), read_text(options.trace))
    text = recorded_traffic(pool, at, options.operator)
    return manifest, Input(f"traffic of {pool}", text, _recorded_startup_s(text))


def _recorded_startup_s(text: str) -> float:
    """From the last column of the last row, where the operator knew it."""
    last = text.rstrip().rpartition(",")[2]
    try:
        return min(max(float(last), 0.0), 3600.0)
    except ValueError:
        return UNKNOWN_STARTUP_S
