"""How is a code block made shorter without changing what the code does?

Comments and empty lines go; strings stay, and so does every comment a machine reads (``noqa``, ``go:build``, a
shebang). What only a parser could tell for certain (a slash that may open a regular expression, a nested template)
leaves the line or the whole block as it is. Pure.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable

MayDrop = Callable[[str], bool]
"""Whether a comment may go: the caller knows whether it states a fact that stands nowhere else."""

_FENCE = re.compile(
    r"(?P<open>[ \t]*(?P<ticks>`{3,20}|~{3,20})[ \t]*(?P<language>[\w+#-]*)[^\n]*\n)"
    r"(?P<body>[\s\S]*?)(?P<close>(?:^|\n)[ \t]*(?P=ticks)[ \t]*)\Z"
)
_LANGUAGES = {
    **dict.fromkeys(("python", "py", "python3"), "python"),
    **dict.fromkeys(("javascript", "js", "typescript", "ts"), "javascript"),
    **dict.fromkeys(("go", "golang"), "go"),
    **dict.fromkeys(("sh", "bash", "shell", "zsh"), "shell"),
}
_READ_BY_MACHINES = re.compile(
    r"#!|#\s*(?:type|pylint|mypy|ruff|noqa|fmt|isort|pragma|shellcheck|coding|-\*-)|///|//go:|//\s*\+build|//export|/\*!"
    r"|(?://|/\*)\s*(?:eslint|prettier|@ts-|tslint|istanbul|webpack|jshint|global)",
    re.IGNORECASE,
)


class _UnclearError(Exception):
    """Raised when the scanner cannot be certain: the block stays as it is."""


def shorten_fence(fence: str, may_drop: MayDrop) -> str:
    """The fenced block without comments and empty lines; unchanged when its language is unknown or unclear."""
    found = _FENCE.match(fence)
    shorten = found and _SHORTENERS.get(_LANGUAGES.get(found["language"].lower(), ""))
    if not found or not shorten:
        return fence
    try:
        return found["open"] + shorten(found["body"], may_drop) + found["close"]
    except _UnclearError:
        return fence


def _removable(comment: str, may_drop: MayDrop) -> bool:
    return not _READ_BY_MACHINES.match(comment) and may_drop(comment)


def _python(body: str, may_drop: MayDrop) -> str:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(body).readline))
    except (tokenize.TokenError, SyntaxError) as error:
        raise _UnclearError from error
    lines = body.split("\n")
    inside_string: set[int] = set()
    for token in tokens:
        (first, column), (last, _) = token.start, token.end
        inside_string.update(range(first + 1, last + 1))
        if token.type == tokenize.COMMENT and _removable(token.string, may_drop):
            lines[first - 1] = lines[first - 1][:column].rstrip()
    return "\n".join(line for number, line in enumerate(lines, 1) if line.strip() or number in inside_string)


def _javascript(body: str, may_drop: MayDrop) -> str:
    return _c_like(body, may_drop, raw_strings=False)


def _go(body: str, may_drop: MayDrop) -> str:
    return _c_like(body, may_drop, raw_strings=True)


def _c_like(body: str, may_drop: MayDrop, *, raw_strings: bool) -> str:
    """Line comments, and block comments that begin a line. ``raw_strings``: no escapes between back quotes."""
    if "`" in body and re.search(r"\$\{[^}]*`|(?<![/*])/(?![/*])", body):
        raise _UnclearError  # a nested template, or a regular expression that may hold a back quote
    kept: list[str] = []
    in_template = False
    comment: list[str] = []  # lines of a block comment that has not ended
    for line in body.split("\n"):
        if comment or (not in_template and line.lstrip().startswith("/*")):
            comment.append(line)
            if "*/" in line:
                kept += _after_block_comment(comment, may_drop)
                comment = []
            continue
        began_in_template = in_template
        at, in_template = _c_line_comment(line, in_template, raw_strings)
        if at is not None and not re.search(r"\*/|</", line[at:]) and _removable(line[at:], may_drop):
            line = line[:at].rstrip()
        if line.strip() or began_in_template:
            kept.append(line)
    if in_template or comment:
        raise _UnclearError
    return "\n".join(kept)


def _after_block_comment(lines: list[str], may_drop: MayDrop) -> list[str]:
    comment = "\n".join(lines).strip()
    fills_its_lines = comment.index("*/") == len(comment) - 2
    return [] if fills_its_lines and _removable(comment, may_drop) else lines


def _c_line_comment(line: str, in_template: bool, raw_strings: bool) -> tuple[int | None, bool]:
    """Where the line's comment starts (None: nowhere for certain), and whether a back quote stays open behind it."""
    quote = "`" if in_template else ""
    at = 0
    while at < len(line):
        character = line[at]
        if quote and character == "\\" and not (raw_strings and quote == "`"):
            at += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'`":
            quote = character
        elif character == "/":
            return (at if line.startswith("//", at) else None), False
        at += 1
    if quote and line.endswith("\\"):
        raise _UnclearError  # a string that goes on in the next line
    return None, quote == "`"


def _shell(body: str, may_drop: MayDrop) -> str:
    if "<<" in body or "$'" in body:
        raise _UnclearError  # a here-document may hold anything
    kept: list[str] = []
    quote = ""
    for line in body.split("\n"):
        must_stay = bool(quote) or (bool(kept) and kept[-1].endswith("\\"))
        at, quote = _shell_comment(line, quote)
        if at is not None and _removable(line[at:], may_drop):
            line = line[:at].rstrip()
        if line.strip() or must_stay:
            kept.append(line)
    if quote:
        raise _UnclearError
    return "\n".join(kept)


def _shell_comment(line: str, quote: str) -> tuple[int | None, str]:
    """Where the line's comment starts, and the quote that stays open behind the line."""
    at = 0
    while at < len(line):
        character = line[at]
        if character == "\\" and quote != "'":
            at += 1
        elif quote:
            if quote == '"' and line.startswith(("$(", "`"), at):
                raise _UnclearError  # quotes within quotes
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "#" and (at == 0 or line[at - 1] in " \t;"):
            return at, ""
        at += 1
    return None, quote


_SHORTENERS: dict[str, Callable[[str, MayDrop], str]] = {
    "python": _python,
    "javascript": _javascript,
    "go": _go,
    "shell": _shell,
}
