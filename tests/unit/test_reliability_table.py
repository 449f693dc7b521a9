"""docs/reliability.md promises a test for each fault and each trap; each of them exists."""

from __future__ import annotations

import re

from tests.conftest import PROJECT

_ROW = re.compile(r"^\| (\d+) \|.*\| (.*) \|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


_PAGE = (PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_trap_names_a_test_or_says_why_it_cannot_occur() -> None:
    rows = _ROW.findall(_PAGE)
    assert [int(number) for number, _ in rows] == list(range(1, 59))
    for number, here in rows:
        assert _TEST.search(here) or here.startswith("cannot occur"), number


def test_every_test_that_is_named_exists() -> None:
    for path, name in _TEST.findall(_PAGE):
        assert f"def {name}(" in (PROJECT / "tests" / path).read_text(encoding="utf-8"), name
