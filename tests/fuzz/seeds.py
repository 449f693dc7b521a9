"""Which inputs a test tries: each is a pure function of a seed and a number, so that one can be tried again alone.

TEST_FUZZ_SEED=7 python -m pytest tests/fuzz -m "not long"                 another thousand
TEST_FUZZ_SEED=7 TEST_FUZZ_ONLY=123 python -m pytest tests/fuzz -k api     one of them
"""

from __future__ import annotations

import os
from collections.abc import Sequence

SEED = int(os.environ.get("TEST_FUZZ_SEED", "20260131"))


def numbers(first: int, count: int) -> Sequence[int]:
    only = os.environ.get("TEST_FUZZ_ONLY")
    return [int(only)] if only else range(first, first + count)
