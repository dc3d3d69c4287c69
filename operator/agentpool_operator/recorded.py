"""``python -m agentpool_operator.recorded NAMESPACE POOL``: which traffic did the operator record of a pool?

Prints what Redis keeps as the CSV that `agentpool plan` reads, one row per known minute. Meant to be run in the
operator's own container, whose environment says where Redis is: who may run commands there may read it.
"""

from __future__ import annotations

import asyncio
import csv
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

import numpy as np
from pydantic import ValidationError

from agentpool_api import keys
from agentpool_operator.decide.history import History, from_bytes
from agentpool_operator.errors import RedisUnavailableError, SettingsError
from agentpool_operator.reconcile.memory import Facts
from agentpool_operator.redis_link import RedisLink
from agentpool_operator.settings import read_settings

FEWEST_MINUTES = 2
"""A replay takes the length of a row from the step between two."""

COLUMNS = ("timestamp", "count", "service_s", "startup_s")


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Returns 0, or 2 after one line on stderr."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m agentpool_operator.recorded NAMESPACE POOL\n")
        return 2
    namespace, pool = arguments
    try:
        raw = asyncio.run(_read(environment, keys.memory(namespace, pool)))
        facts = Facts.model_validate_json(raw.get(b"facts", b"{}"))
        history = from_bytes(raw[b"arrivals"])
    except (SettingsError, RedisUnavailableError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (KeyError, ValidationError, ValueError):
        sys.stderr.write(f"nothing is recorded of pool {pool} in namespace {namespace}: check both names, or wait\n")
        return 2
    if np.count_nonzero(np.isfinite(history.minutes)) < FEWEST_MINUTES:
        sys.stderr.write(f"less than {FEWEST_MINUTES} minutes are recorded of pool {pool}: wait a little\n")
        return 2
    write_csv(history, facts, sys.stdout)
    return 0


def write_csv(history: History, facts: Facts, out: TextIO) -> None:
    """One row per minute that is known, in Unix seconds, with the service and start-up time measured last."""
    rows = csv.writer(out, lineterminator="\n")
    service = "" if facts.service_s is None else f"{facts.service_s:.6g}"
    startup = "" if facts.startup_s is None else f"{facts.startup_s:.6g}"
    rows.writerow(COLUMNS)
    end_s = 0 if history.end_s is None else history.end_s // 60 * 60
    counts = history.per_minute(len(history.minutes))
    for index in np.flatnonzero(np.isfinite(counts)).tolist():
        rows.writerow((end_s - 60 * (len(counts) - index), round(counts[index]), service, startup))


async def _read(environment: Mapping[str, str], key: str) -> Mapping[bytes, bytes]:
    link = RedisLink(read_settings(environment).redis, time.monotonic)
    try:
        (answer,) = await link.run([("HGETALL", key)])
    finally:
        await link.close()
    return answer if isinstance(answer, Mapping) else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
