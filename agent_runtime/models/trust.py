"""Whose certificates are trusted, and which are shown? The system's authorities and, beside them, those of a file; and
of each Secret that an endpoint names the certificate with its key. All of these files may change."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent_runtime.settings import Process
from agentpool_api.upstreams import Connections, Model
from agentpool_api.wire import Problem

MAX_BUNDLE_BYTES = 4 * 1024 * 1024
CERTIFICATE, KEY = "tls.crt", "tls.key"
"""Keys of a Secret of type kubernetes.io/tls."""


class Trust:
    """The contexts in force. They change when a file does; connections made before keep theirs."""

    def __init__(
        self, bundle: Path | None, *, field: str, shown: Mapping[str, Path], fields: Mapping[str, str]
    ) -> None:
        """``bundle``: a file of PEM certificates, None for the system's alone; ``field``: the setting that names it.

        ``shown``: folders of the certificates that endpoints are shown, ``fields``: the settings that name them, both
        by Secret.
        """
        self._bundle = bundle
        self._field = field
        self._shown = shown
        self._fields = fields
        self._authorities = b""
        self._pairs: dict[str, bytes] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._plain: ssl.SSLContext | bool = True
        self.problems: tuple[Problem, ...] = ()
        self.reload()

    def context(self, certificate: str | None) -> ssl.SSLContext | bool:
        """The context for an endpoint that is shown this Secret's certificate, None for none at all.

        True: the context of the client library, which trusts the system's authorities. While a certificate is missing
        the endpoint is shown none.
        """
        return self._plain if certificate is None else self._contexts.get(certificate, self._plain)

    def reload(self) -> None:
        """Read the files again. A file that is gone or damaged later changes nothing: the last good one holds."""
        problems: list[Problem] = []
        if self._bundle is not None:
            self._read_authorities(self._bundle, problems)
        for name, folder in self._shown.items():
            self._read_pair(name, folder, problems)
        self.problems = tuple(problems)

    def _read_authorities(self, bundle: Path, problems: list[Problem]) -> None:
        try:
            content = _content(bundle)
            if content != self._authorities:
                self._plain = _context(content)
                self._authorities = content
        except (ssl.SSLError, ValueError):
            problems.append(self._problem("it holds no PEM certificates: put the authority's certificate there"))
        except OSError:
            if not self._authorities:
                problems.append(self._problem(f"it cannot be read from {bundle}: create it"))

    def _read_pair(self, name: str, folder: Path, problems: list[Problem]) -> None:
        certificate, key = folder / CERTIFICATE, folder / KEY
        try:
            content = _content(certificate) + _content(key) + self._authorities
            if content == self._pairs.get(name):
                return
            context = _context(self._authorities)
            context.load_cert_chain(certificate, key, password="")  # with none at all OpenSSL would ask the terminal
        except (ssl.SSLError, ValueError):
            what = f"{CERTIFICATE} and {KEY} of Secret {name} are no PEM certificate with its key: put both there"
            problems.append(Problem(reason="ConfigurationInvalid", field=self._fields[name], message=what))
        except OSError:
            if name not in self._pairs:
                what = f"{CERTIFICATE} or {KEY} of Secret {name} is missing: create it (read from {folder})"
                problems.append(Problem(reason="SecretMissing", field=self._fields[name], message=what))
        else:
            self._contexts[name], self._pairs[name] = context, content

    def _problem(self, what: str) -> Problem:
        return Problem(
            reason="ConfigurationInvalid", field=self._field, message=f"the bundle of certificate authorities: {what}"
        )


def _context(authorities: bytes) -> ssl.SSLContext:
    """Trusts the system's authorities and these. Raises ssl.SSLError and ValueError."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(("http/1.1",))
    if authorities:
        context.load_verify_locations(cadata=authorities.decode("ascii"))
    return context


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BUNDLE_BYTES)


def make_trust(connections: Connections, models: Sequence[Model], process: Process) -> Trust:
    """Whom the settings trust, and what they show."""
    own = connections.authorities
    bundle = process.ca_dir / own.key if own is not None else None
    fields: dict[str, str] = {}
    for index, model in enumerate(models):
        for place, endpoint in enumerate(model.served_by):
            if (name := endpoint.client_certificate_secret_name) is not None:
                path = f"{process.field_prefix}models[{index}].endpoints[{place}].clientCertificateSecretName"
                fields.setdefault(name, path)
    return Trust(
        bundle,
        field=f"{process.field_prefix}connections.authorities",
        shown={name: process.secrets_dir / name for name in fields},
        fields=fields,
    )
