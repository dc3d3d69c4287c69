"""What can go wrong for a caller, in the words of the OpenAI API?

Every refusal and failure of a request is an ApiError; the HTTP layer writes it as an OpenAI error object.
"""

from __future__ import annotations

import orjson


class RuntimeSetupError(Exception):
    """Raised at start when a setting is bad; its text is one line that names the field and says what to change."""


class EmbedderUnavailable(Exception):  # noqa: N818
    """Raised when the semantic cache can have no vector now; another time it may. The text says why."""


class ApiError(Exception):
    """Ends a request with this HTTP status and OpenAI error object.

    ``retry_after_s`` becomes Retry-After (whole seconds, rounded up). ``should_retry`` becomes ``x-should-retry``,
    which the OpenAI SDKs obey before their own rules: False where the runtime has already repeated the call. ``body``
    is an error object of the endpoint, passed on unchanged. ``allow`` are the methods a 405 names.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        close: bool = False,
        body: bytes | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind
        self.param = param
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        self.close = close
        self.body = body
        self.allow = allow
        self.age_s: float | None = None
        """How long ago the endpoint said so, when it was not asked again."""

    def payload(self) -> bytes:
        """The OpenAI error object as JSON."""
        if self.body is not None:
            return self.body
        return error_object(self.message, self.kind, self.code, self.param)

    def copy(self) -> ApiError:
        """The same error to raise for another caller: one exception object must not gather two tracebacks."""
        return ApiError(
            self.status,
            self.code,
            self.message,
            kind=self.kind,
            param=self.param,
            retry_after_s=self.retry_after_s,
            should_retry=self.should_retry,
            close=self.close,
            body=self.body,
            allow=self.allow,
        )


def error_object(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """An OpenAI error object as JSON."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})
