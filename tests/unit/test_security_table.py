"""docs/security.md promises an answer to each hostile input and a test that shows it; each of them exists."""

from __future__ import annotations

import re

from tests.conftest import PROJECT

_PAGE = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| (?!input|---)(.*) \| (.*) \| (.*) \|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_every_hostile_input_has_a_test() -> None:
    rows = _ROW.findall(_PAGE)
    assert len(rows) >= 25
    for what, happens, tests in rows:
        assert happens.strip(), what
        assert _TEST.search(tests), what


def test_every_test_that_is_named_exists() -> None:
    for path, name in _TEST.findall(_PAGE):
        assert f"def {name}(" in (PROJECT / "tests" / path).read_text(encoding="utf-8"), name
