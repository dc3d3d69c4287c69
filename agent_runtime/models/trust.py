"""Whose certificates are trusted? The system's authorities and, beside them, those of a file that may change."""

from __future__ import annotations

import ssl
from pathlib import Path

from agent_runtime.settings import Process
from agentpool_api.upstreams import Connections
from agentpool_api.wire import Problem

MAX_BUNDLE_BYTES = 4 * 1024 * 1024


class Trust:
    """The authorities in force. ``context`` changes when the file does; connections made before keep theirs."""

    def __init__(self, bundle: Path | None, *, field: str) -> None:
        """``bundle``: a file of PEM certificates, None for the system's alone; ``field``: the setting that names it."""
        self._bundle = bundle
        self._field = field
        self._read = b""
        self.context: ssl.SSLContext | bool = True
        """True: the context of the client library, which trusts the system's authorities."""
        self.problems: tuple[Problem, ...] = ()
        self.reload()

    def reload(self) -> None:
        """Read the file again. A file that is gone or damaged later changes nothing: the last good one holds."""
        if self._bundle is None:
            return
        try:
            content = _content(self._bundle)
        except OSError:
            if not self._read:
                self.problems = (self._problem(f"it cannot be read from {self._bundle}: create it"),)
            return
        if content == self._read:
            return
        context = _context()
        try:
            context.load_verify_locations(cadata=content.decode("ascii"))
        except (ssl.SSLError, ValueError):
            self.problems = (self._problem("it holds no PEM certificates: put the authority's certificate there"),)
            return
        self.context, self._read, self.problems = context, content, ()

    def _problem(self, what: str) -> Problem:
        return Problem(
            reason="ConfigurationInvalid", field=self._field, message=f"the bundle of certificate authorities: {what}"
        )


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    return context


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BUNDLE_BYTES)


def make_trust(connections: Connections, process: Process) -> Trust:
    """Whom the settings trust."""
    own = connections.authorities
    bundle = process.ca_dir / own.key if own is not None else None
    return Trust(bundle, field=f"{process.field_prefix}connections.authorities")
