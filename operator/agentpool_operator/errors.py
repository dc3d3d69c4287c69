"""What can go wrong in the operator, and does a later try help?"""

from __future__ import annotations


class OperatorError(Exception):
    """Root of the operator's own errors."""


class SettingsError(OperatorError):
    """A setting of the process is missing or wrong; says which one and what to write instead."""


class LeaseLostError(OperatorError):
    """Another instance leads, or the API server could not be reached for too long to be sure that none does."""


class WatchLostError(OperatorError):
    """A watch ended by an error no retry helps with. The process must begin anew."""


class RedisUnavailableError(OperatorError):
    """Redis gave no answer in time. The next period tries again."""


class ClusterUnavailableError(OperatorError):
    """The API server gave no answer, or asks to come back later. A retry helps, not before ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ManifestRefusedError(OperatorError):
    """The API server, or the operator itself, takes the manifest for wrong. Only a change of the resource helps, or,
    where it ``passes``, a little time.

    ``reason`` is the condition's reason, ``message`` names the field and what to change.
    """

    def __init__(self, reason: str, message: str, *, passes: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.passes = passes
