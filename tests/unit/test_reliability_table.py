"""docs/reliability.md promises a test for each trap; each of them exists."""

from __future__ import annotations

import re

from tests.conftest import PROJECT

_ROW = re.compile(r"^\| (\d+) \|.*\| (.*) \|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_every_trap_names_a_test_that_exists_or_says_why_it_cannot_occur() -> None:
    rows = _ROW.findall((PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8"))
    assert [int(number) for number, _ in rows] == list(range(1, 55))
    for number, here in rows:
        tests = _TEST.findall(here)
        assert tests or here.startswith("cannot occur"), number
        for path, name in tests:
            assert f"def {name}(" in (PROJECT / "tests" / path).read_text(encoding="utf-8"), (number, name)
