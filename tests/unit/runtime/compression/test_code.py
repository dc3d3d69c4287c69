"""A code block loses comments and empty lines, and nothing that runs."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.compression.code import shorten_fence


def block(language: str, body: str) -> str:
    return f"```{language}\n{body}\n```"


def body_of(fence: str) -> str:
    return fence.split("\n", 1)[1].removesuffix("```").removesuffix("\n")


@pytest.mark.parametrize(
    ("language", "body", "short"),
    [
        pytest.param("python", "x = 1  # set x\n\n# next\ny = 2", "x = 1\ny = 2", id="python"),
        pytest.param("py", 's = "# no comment"\n', 's = "# no comment"', id="python-string"),
        pytest.param("python", "import os  # noqa: F401\n\nx = 1", "import os  # noqa: F401\nx = 1", id="directive"),
        pytest.param("js", "f() // go\n\n/* all\n of it */\ng()", "f()\ng()", id="javascript"),
        pytest.param("js", "const u = 'http://a//b'; // link", "const u = 'http://a//b';", id="slashes-in-string"),
        pytest.param("js", "const s = `a // b\n\nc`;", "const s = `a // b\n\nc`;", id="template"),
        pytest.param("js", "x = /\\/\\//.test(y) // why", "x = /\\/\\//.test(y) // why", id="regular-expression"),
        pytest.param("js", "x = `${a ? `//b` : 1}` // c", "x = `${a ? `//b` : 1}` // c", id="nested-template"),
        pytest.param("go", "//go:build linux\n\nx := `\\` // back", "//go:build linux\nx := `\\`", id="go"),
        pytest.param("bash", "#!/bin/sh\n\n# list\nls # all\necho $#", "#!/bin/sh\nls\necho $#", id="shell"),
        pytest.param("bash", "echo \"# no\" '# no'\n", "echo \"# no\" '# no'", id="shell-strings"),
        pytest.param("bash", "cat <<END\n# in\n\nEND", "cat <<END\n# in\n\nEND", id="here-document"),
        pytest.param("bash", 'echo "$(echo "a # b")"', 'echo "$(echo "a # b")"', id="nested-quotes"),
        pytest.param("rust", "x // y\n\nz", "x // y\n\nz", id="unknown-language"),
        pytest.param("python", "def f(:\n\n# broken", "def f(:\n\n# broken", id="not-python"),
    ],
)
def test_a_block_gets_shorter_only_where_that_is_certain(language: str, body: str, short: str) -> None:
    assert body_of(shorten_fence(block(language, body), lambda comment: True)) == short


def test_a_comment_that_states_a_fact_stays() -> None:
    fence = block("python", "x = 1  # limit is 42\ny = 2  # plain")
    assert shorten_fence(fence, lambda comment: "42" not in comment) == block("python", "x = 1  # limit is 42\ny = 2")


def test_an_unclosed_block_stays_as_it_is() -> None:
    assert shorten_fence("```python\nx = 1 # a", lambda comment: True) == "```python\nx = 1 # a"


LINES = st.sampled_from(
    [
        "x = 1",
        "x = 1  # one",
        "# alone",
        "",
        "    ",
        's = "# in a string"',
        't = """first\n\n# in a docstring\n  last"""',
        "def f():\n    # why\n    return x  # done",
        "y = [\n    1,  # a\n\n    2,\n]",
        "z = 'it''s' + \\\n    'b'  # joined",
        "if x:\n    pass",
    ]
)


@given(st.lists(LINES, max_size=12))
def test_python_means_the_same_without_its_comments(lines: list[str]) -> None:
    source = "\n".join(lines)
    short = body_of(shorten_fence(block("python", source), lambda comment: True))
    assert ast.dump(ast.parse(short)) == ast.dump(ast.parse(source))
