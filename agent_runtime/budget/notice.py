"""What do the pool's budgets leave this agent? The operator's last word, as long as it counts.

Read with the heartbeat, so that no request ever asks for it.
"""

from __future__ import annotations

from pydantic import ValidationError

from agentpool_api.wire import NOTICE_LIFE_S, BudgetAction, BudgetNotice

_NOTHING = BudgetNotice()


class BudgetView:
    """What an agent knows of the pool's budgets. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._notice = _NOTHING
        self._heard_s: float | None = None
        self.left: float | None = None
        """Share of the tightest window that is left, 0 to 1; None: no budget, or not known."""

    def take(self, raw: bytes | None, now_s: float) -> None:
        """Take in what Redis holds. What is not there or cannot be read changes nothing, as when Redis is away."""
        try:
            notice = BudgetNotice.model_validate_json(raw) if raw is not None else None
        except ValidationError:
            notice = None
        if notice is None:
            self.miss(now_s)
        else:
            self._set(notice)
            self._heard_s = now_s

    def miss(self, now_s: float) -> None:
        """Nothing was heard: what was known counts on, but not for ever."""
        if self._heard_s is not None and now_s - self._heard_s > NOTICE_LIFE_S:
            self._set(_NOTHING)
            self._heard_s = None

    def asks(self, action: BudgetAction) -> bool:
        """Is this action in force?"""
        return action in self._notice.actions

    def _set(self, notice: BudgetNotice) -> None:
        self._notice = notice
        self.left = None if notice.left_percent is None else notice.left_percent / 100
