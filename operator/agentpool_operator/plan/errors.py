"""What can be wrong with what the user hands to a plan? One line each, saying what to change."""

from __future__ import annotations

from pathlib import Path


class PlanInputError(Exception):
    """A file or an option cannot be used. The message names it and says what to change."""


def read_text(path: Path) -> str:
    """A file's text. Raises PlanInputError when it is not there or no text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise PlanInputError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise PlanInputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
