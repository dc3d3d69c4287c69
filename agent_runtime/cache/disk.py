"""L3: which answers does this agent's disk hold, beyond the life of the process?

One SQLite file, one thread that reads and writes it. Writes are gathered and go out in one transaction. A file that is
damaged is made anew and a full disk only stops writing: losing a cache costs calls, not answers.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agent_runtime.cache.entry import Entry, pack, unpack
from agent_runtime.telemetry.logs import log

FILE = "answers.sqlite"
GATHER_S = 0.5
MAX_PENDING = 512
ROOM_AFTER_EVICTION = 0.9
"""Evicting a tenth at once keeps the thread from evicting with every batch."""

PAUSE_AFTER_FAILURE_S = 30.0
OVERHEAD_BYTES = 200
"""Of a row beside its answer: key, times, index and page slack."""

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, expires REAL, used REAL, size INTEGER, packed BLOB);
CREATE INDEX IF NOT EXISTS answers_used ON answers (used);
"""


class DiskTier:
    """Answers in a file."""

    def __init__(self, folder: Path, max_bytes: int, keep_stale_s: float, clock: Callable[[], float]) -> None:
        self._path = folder / FILE
        self._max_bytes = max_bytes
        self._keep_stale_s = keep_stale_s
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk-cache")
        self._base: sqlite3.Connection | None = None
        self._pending: dict[str, Entry] = {}
        self._used: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._paused_until_s = 0.0
        self.bytes = 0
        self.rebuilt_total = 0
        self.dropped_total = 0

    async def get(self, key: str) -> Entry | None:
        """The stored answer, expired ones included while they are kept; None also when the disk fails."""
        waiting = self._pending.get(key)
        if waiting is not None:
            return waiting
        packed = await self._run(self._read, key)
        entry = unpack(packed) if packed is not None else None
        if entry is not None:
            self._used[key] = self._clock()
            self._wake.set()
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Store the answer soon."""
        if len(self._pending) >= MAX_PENDING or self._clock() < self._paused_until_s:
            self.dropped_total += 1
            return
        self._pending[key] = entry
        self._wake.set()

    async def drop(self, keys: Sequence[str]) -> None:
        """Forget these answers."""
        for key in keys:
            self._pending.pop(key, None)
        await self._run(self._delete, list(keys))

    async def clear(self) -> None:
        """Forget all."""
        self._pending.clear()
        await self._run(self._delete, None)

    async def write_forever(self) -> None:
        """Write what is put until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write what waits."""
        pending, self._pending = self._pending, {}
        used, self._used = self._used, {}
        if pending or used:
            await self._run(self._write, pending, used, self._clock())

    async def aclose(self) -> None:
        """Write what waits and close the file."""
        await self.flush()
        await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[..., T], *args: object) -> T | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work, *args)

    # --- in the thread ---

    def _guarded(self, work: Callable[..., T], *args: object) -> T | None:
        """Do some work on the file; None when it failed."""
        try:
            return work(*args)
        except sqlite3.OperationalError as error:  # no room, no right, locked
            self._paused_until_s = self._clock() + PAUSE_AFTER_FAILURE_S
            log(logging.WARNING, "the disk cache cannot be used for now", error=str(error))
        except sqlite3.DatabaseError as error:  # not a database, malformed
            log(logging.WARNING, "the disk cache was damaged and is made anew", error=str(error))
            self._remove_file()
        except OSError as error:
            self._paused_until_s = self._clock() + PAUSE_AFTER_FAILURE_S
            log(logging.WARNING, "the disk cache cannot be used for now", error=error.strerror)
        return None

    def _open(self) -> sqlite3.Connection:
        if self._base is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            base.execute("PRAGMA auto_vacuum=FULL")
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("PRAGMA synchronous=NORMAL")
            base.executescript(_SCHEMA)
            self._base = base
            self.bytes = base.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()[0]
        return self._base

    def _read(self, key: str) -> bytes | None:
        row = self._open().execute("SELECT packed FROM answers WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def _write(self, pending: dict[str, Entry], used: dict[str, float], now_s: float) -> None:
        base = self._open()
        rows = []
        for key, entry in pending.items():
            packed = pack(entry)
            rows.append((key, entry.expires_s + self._keep_stale_s, now_s, len(packed) + OVERHEAD_BYTES, packed))
        base.execute("BEGIN")
        try:
            base.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", rows)
            base.executemany("UPDATE answers SET used = ? WHERE key = ?", [(at_s, key) for key, at_s in used.items()])
            base.execute("DELETE FROM answers WHERE expires <= ?", (now_s,))
            self._make_room(base)
            base.execute("COMMIT")
        except BaseException:
            base.rollback()
            raise

    def _make_room(self, base: sqlite3.Connection) -> None:
        """Drop what was used least recently when the answers take more than their room."""
        total = base.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()[0]
        if total > self._max_bytes:
            excess = total - int(self._max_bytes * ROOM_AFTER_EVICTION)
            base.execute(
                "DELETE FROM answers WHERE key IN (SELECT key FROM (SELECT key, sum(size) OVER "
                "(ORDER BY used, key) - size AS before FROM answers) WHERE before < ?)",
                (excess,),
            )
            total = base.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()[0]
        self.bytes = total

    def _delete(self, keys: list[str] | None) -> None:
        base = self._open()
        if keys is None:
            base.execute("DELETE FROM answers")
        else:
            base.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys])

    def _close(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def _remove_file(self) -> None:
        self._close()
        self.rebuilt_total += 1
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
