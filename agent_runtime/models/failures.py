"""What does the failure of one try mean: for the caller, for the next try, and for the endpoint's circuit?

Vendor errors are translated here, once.
"""

from __future__ import annotations

import ssl

import aiohttp
import orjson

from agent_runtime.errors import ApiError
from agent_runtime.models.backoff import RETRYABLE
from agent_runtime.models.endpoints import Endpoint
from agent_runtime.models.wire import InvalidAnswer


class Failure(Exception):  # noqa: N818
    """Raised when one try failed."""

    def __init__(
        self, error: ApiError, reason: str, *, retryable: bool, elsewhere: bool = True, trips: bool = True
    ) -> None:
        super().__init__(reason)
        self.error = error
        """What the caller learns when nothing else helps."""
        self.reason = reason
        """A word for metrics."""
        self.retryable = retryable
        """The same endpoint may do better later."""
        self.elsewhere = elsewhere
        """Another endpoint may do better now."""
        self.trips = trips
        """It tells against the endpoint."""


class PoolExhausted(TimeoutError):  # noqa: N818
    """Raised when the time ran out while all connections were busy: nothing was sent."""


class FirstTokenTimeout(TimeoutError):  # noqa: N818
    """Raised when a stream did not begin in time."""


class TokenTimeout(TimeoutError):  # noqa: N818
    """Raised when an answer paused too long."""


def failure_of(error: Exception, endpoint: Endpoint) -> Failure:
    """What a failure of the connection means."""
    host, field = endpoint.host, endpoint.url_field
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            text = (
                f"the endpoint {host} shows no certificate that is trusted here: check {field}, its certificate and "
                "connections.authorities"
            )
            return Failure(server_error(502, "upstream_tls_error", text), "tls", retryable=False)
        case PoolExhausted():
            text = f"no connection to {host} became free in time: raise connections.perHost and total, or maxAgents"
            return Failure(server_error(504, "upstream_timeout", text), "pool", retryable=False, trips=False)
        case FirstTokenTimeout():
            text = f"the endpoint {host} did not begin its stream within connections.firstTokenTimeout"
            return Failure(server_error(504, "upstream_timeout", text), "first_token_timeout", retryable=False)
        case TokenTimeout():
            text = f"the endpoint {host} paused longer than connections.tokenTimeout within its answer"
            return Failure(server_error(504, "upstream_timeout", text), "token_timeout", retryable=False)
        case aiohttp.ConnectionTimeoutError():
            text = f"the endpoint {host} did not accept a connection in time"
            return Failure(server_error(504, "upstream_timeout", text), "connect_timeout", retryable=True)
        case TimeoutError():
            text = f"the endpoint {host} did not answer within connections.timeout"
            return Failure(server_error(504, "upstream_timeout", text), "timeout", retryable=False)
        case aiohttp.ClientConnectorDNSError():
            text = f"the name of the endpoint {host} is not known here: check {field} and the cluster's DNS"
            return Failure(server_error(502, "upstream_unreachable", text), "dns", retryable=True)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            text = f"the proxy does not lead to the endpoint {host}: check connections.proxy"
            return Failure(server_error(502, "upstream_unreachable", text), "proxy", retryable=True)
        case aiohttp.ClientConnectorError():
            text = f"the endpoint {host} cannot be reached: check {field} and the network"
            return Failure(server_error(502, "upstream_unreachable", text), "unreachable", retryable=True)
        case InvalidAnswer() | aiohttp.ClientResponseError():
            text = f"the endpoint {host} does not speak HTTP as expected"
            return Failure(server_error(502, "upstream_invalid_answer", text), "invalid", retryable=False)
        case _:
            text = f"the endpoint {host} closed the connection before its answer was whole"
            if endpoint.certificate is not None:  # of TLS 1.3 nothing more is heard of a refused certificate
                text += f"; it may not take the certificate of clientCertificateSecretName ({endpoint.certificate})"
            return Failure(server_error(502, "upstream_disconnected", text), "disconnected", retryable=True)


ConnectionFailed = aiohttp.ClientError
"""Root of the client library's errors."""


def why_unreachable(error: Exception) -> str:
    """In a few words, why no connection could be made."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError():
            cause = error.certificate_error
            return f"its certificate is not trusted ({getattr(cause, 'verify_message', '') or type(cause).__name__})"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "TLS failed; is the scheme right?"
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known here"
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return "the proxy does not lead there"
        case _:
            return (getattr(error, "strerror", None) or type(error).__name__).lower()


def refusal(
    endpoint: Endpoint, status: int, content: bytes, *, key: str | None, wait_s: float | None, hopeless: bool
) -> Failure:
    """What an answer other than 200 means. ``hopeless``: the endpoint says that another try will not help."""
    retryable = status in RETRYABLE and not hopeless
    reason = f"http_{status}"
    if status in (401, 403):
        text = (
            f"the endpoint of model {endpoint.model} refused the pool's credential (HTTP {status}): "
            f"check {endpoint.key_field}"
        )
        error = server_error(502, "upstream_credential_refused", text)
        return Failure(error, reason, retryable=False, trips=False)
    if 400 <= status < 500:
        body = content.replace(key.encode(), b"***") if key else content
        error = ApiError(
            status,
            "upstream_refused",
            f"the endpoint of model {endpoint.model} refused the request (HTTP {status})",
            kind="rate_limit_error" if status == 429 else "invalid_request_error",
            retry_after_s=wait_s,
            body=body if is_error_object(body) else None,
        )
        # 404: this endpoint does not know the model; another one may. Other refusals are about the request itself.
        return Failure(error, reason, retryable=retryable, elsewhere=retryable or status in (404, 429), trips=False)
    text = f"the endpoint of model {endpoint.model} failed (HTTP {status}); it was tried again without success"
    error = server_error(503 if status == 503 else 502, "upstream_error", text, wait_s)
    return Failure(error, reason, retryable=retryable)


def broken_stream(endpoint: Endpoint, frame: bytes) -> Failure:
    """A stream that began with an error in place of an answer."""
    found = frame.partition(b"data:")[2].split(b"\n", 1)[0].strip()
    text = f"the endpoint of model {endpoint.model} sent an error in place of a stream"
    error = server_error(502, "upstream_error", text)
    error.body = found if is_error_object(found) else None
    return Failure(error, "stream_error", retryable=True)


def too_large(endpoint: Endpoint, limit_bytes: int) -> Failure:
    """An answer that does not end."""
    text = f"{endpoint.host} sent more than {limit_bytes} bytes"
    error = server_error(502, "upstream_answer_too_large", text)
    return Failure(error, "too_large", retryable=False, elsewhere=False, trips=False)


def unavailable(model: str, wait_s: float, *, limited: bool) -> ApiError:
    """No endpoint of a model may be called now. ``limited``: they asked for a pause, they did not fail."""
    if limited:
        text = f"every endpoint of model {model} asks to be called later (HTTP 429); try again after Retry-After"
        return ApiError(429, "upstream_rate_limited", text, kind="rate_limit_error", retry_after_s=max(wait_s, 1.0))
    text = f"every endpoint of model {model} failed lately and is left alone for a moment; try again after Retry-After"
    return ApiError(503, "upstream_unavailable", text, kind="server_error", retry_after_s=max(wait_s, 1.0))


def server_error(status: int, code: str, message: str, retry_after_s: float | None = None) -> ApiError:
    """An error that SDKs should not repeat: the runtime has done so."""
    return ApiError(status, code, message, kind="server_error", should_retry=False, retry_after_s=retry_after_s)


def is_error_object(content: bytes) -> bool:
    """Is this an OpenAI error object?"""
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, dict) and isinstance(parsed.get("error"), dict)
