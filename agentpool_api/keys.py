"""Which Redis keys hold what?

All keys of a namespace share the hash tag ``{namespace}``, so that every atomic step works on Redis Cluster too.
Money is nano-USD, time is Unix seconds.
"""

from __future__ import annotations

PREFIX = "agentpool"

SPEND_BUCKET_S = 900
"""Spend is counted in quarters of an hour: every time zone's midnight is a multiple of it."""

SPEND_RETENTION_S = 40 * 86400
"""Longer than the longest window, a month of 31 days and the change of its zone."""


def heartbeats(namespace: str, pool: str) -> str:
    """Hash: pod name → Heartbeat (JSON)."""
    return f"{PREFIX}:{{{namespace}}}:heartbeats:{pool}"


def stats(namespace: str, pool: str) -> str:
    """Hash: pod name → what this agent has counted since its start (JSON), for ``/v1/stats``."""
    return f"{PREFIX}:{{{namespace}}}:stats:{pool}"


def spend(namespace: str, pool: str) -> str:
    """Hash: ``<bucket>:tokens`` and ``<bucket>:agents`` → nano-USD; ``bucket`` is the bucket's first Unix second."""
    return f"{PREFIX}:{{{namespace}}}:spend:{pool}"


def spend_bucket(at_s: float) -> int:
    """First second of the spend bucket that holds this Unix time."""
    return int(at_s // SPEND_BUCKET_S) * SPEND_BUCKET_S


def memory(namespace: str, pool: str) -> str:
    """Hash: what the operator remembers of a pool beyond its status, so that its restart forgets nothing."""
    return f"{PREFIX}:{{{namespace}}}:memory:{pool}"


def budget_notice(namespace: str, pool: str) -> str:
    """BudgetNotice (JSON) of a pool under a budget, from the operator to every agent. Expires unless renewed."""
    return f"{PREFIX}:{{{namespace}}}:budget:{pool}"


def queue(namespace: str, stream: str) -> str:
    """Stream of a user's tasks: a pool names ``stream``, and can so name no other tenant's key, nor one of ours."""
    return f"{PREFIX}:{{{namespace}}}:queue:{stream}"


def charged_until(namespace: str, pool: str) -> str:
    """Hash: pod UID → Unix milliseconds up to which its time has been charged."""
    return f"{PREFIX}:{{{namespace}}}:charged:{pool}"


def carried(namespace: str, budget: str) -> str:
    """Hash of a budget: window key → nano-USD spent in that window that the pools' spend no longer shows (a pool left,
    or Redis lost its data); ``selector`` → digest of the selector it was counted for; ``lost`` → Unix second until
    which the loss of data is told."""
    return f"{PREFIX}:{{{namespace}}}:carried:{budget}"


def usage(namespace: str) -> str:
    """Stream of UsageRecords, append-only: the totals can be rebuilt from it."""
    return f"{PREFIX}:{{{namespace}}}:usage"


def settled(namespace: str, request_id: str) -> str:
    """Marks a request whose usage has been counted, so that a repeated settlement counts once."""
    return f"{PREFIX}:{{{namespace}}}:settled:{request_id}"


def flight(namespace: str, pool: str, digest: str) -> str:
    """Which agent is just making this answer; the others wait for it. Expires soon unless renewed."""
    return f"{PREFIX}:{{{namespace}}}:flight:{pool}:{digest}"


def frames(namespace: str, pool: str, digest: str, turn: str) -> str:
    """List: the frames of a stream that one agent makes and others wait for; lives only while it is wanted."""
    return f"{PREFIX}:{{{namespace}}}:frames:{pool}:{digest}:{turn}"


def wanted(namespace: str, pool: str, token: str) -> str:
    """Channel: which of the streams that this agent makes others wait for, as ``<turn> <digest>``."""
    return f"{PREFIX}:{{{namespace}}}:wanted:{pool}:{token}"


def forgets(namespace: str, pool: str) -> str:
    """Hash, and channel that announces its changes: id → statement (JSON) near which every agent drops its answers."""
    return f"{PREFIX}:{{{namespace}}}:forgets:{pool}"


def purges(namespace: str, pool: str) -> str:
    """Hash, and channel that announces its changes: ``<tenant>[ <model>]`` or ``answer:<digest>`` → Unix seconds of
    its last purge."""
    return f"{PREFIX}:{{{namespace}}}:purges:{pool}"


def response(namespace: str, pool: str, digest: str) -> str:
    """One cached answer of a pool (L2)."""
    return f"{PREFIX}:{{{namespace}}}:response:{pool}:{digest}"


def owned_response(namespace: str, pool: str, digest: str) -> str:
    """Exists while a response kept by an endpoint may be continued; the digest is of a caller's key and its id."""
    return f"{PREFIX}:{{{namespace}}}:owned:{pool}:{digest}"
