"""Which question an answer is unsure of: whether a bone is fractured at all, or which kind of fracture it is.

Both models flag the same word, and the kind is doubtful far more often; without the question, lists show doubt nearly
everywhere, and nobody looks twice.
"""

from __future__ import annotations

from core.answers import DOUBTFUL
from core.records.results import Result

WHETHER, KIND = "unsure whether fractured", "unsure which kind"


def doubts(result: Result) -> tuple[str, ...]:
    """Name the questions that a person should look at, the binary one first."""
    fracture = result.fracture
    whether = fracture is not None and DOUBTFUL in fracture.flags
    kind = DOUBTFUL in result.flags and (fracture is None or fracture.model != result.model)
    return tuple(words for words, unsure in ((WHETHER, whether), (KIND, kind)) if unsure)
