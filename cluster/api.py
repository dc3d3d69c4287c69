"""What does the API server say? The few calls the cluster tool makes itself, with the admin's certificate."""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any


class Api:
    """One connection per call: calls are rare, and a restarted server never leaves a dead connection behind."""

    def __init__(self, host: str, port: int, pki: Path) -> None:
        self._host, self._port = host, port
        self._tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def call(self, method: str, path: str, body: object = None, content: str = "application/json") -> tuple[int, Any]:
        """HTTP status and the decoded answer (JSON, else text).

        Raises OSError or http.client.HTTPException while the server cannot be reached.
        """
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls, timeout=30)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": content, "Accept": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else text

    def found(self, path: str) -> Any | None:
        """The object at `path`; None: absent, or the server does not answer yet."""
        try:
            status, answer = self.call("GET", path)
        except (OSError, http.client.HTTPException):
            return None
        return answer if status == http.client.OK else None
