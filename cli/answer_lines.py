"""What models say of one file, a line each: whether it is fractured at all before the kind of fracture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.plausibility import sentence_of
from core.records.fractures import affirms, fracture_probability


def answer_lines(name: str, answers: Sequence[tuple[Mapping[str, Any], bool]]) -> list[str]:
    """Say what was answered of one picture.

    Args:
        name: What the person calls it.
        answers: Entries of the JSON documents of `classify` and `results`, and whether each answers the binary
            question, in the order in which they are told.
    """
    denied = any(binary and entry["label"] and not affirms(entry["label"]) for entry, binary in answers)
    return [f"{name}: {_said(entry, binary=binary, secondary=denied)}" for entry, binary in answers]


def _said(entry: Mapping[str, Any], *, binary: bool, secondary: bool) -> str:
    if entry["label"] is None:
        error = entry["error"]
        return (
            f"{error['words']} ({error['code']})" if error else f"{entry['status'] or 'not asked'} ({entry['model']})"
        )
    model = "; ".join((entry["model"], ", ".join(entry["flags"]))) if entry["flags"] else entry["model"]
    if unjudged := sentence_of(entry["flags"]):
        return f"{unjudged} ({entry['label']} {entry['confidence']:.2f}, {model})"
    if binary:
        words = "fracture suspected" if affirms(entry["label"]) else "no fracture suspected"
        return f"{words}, probability {fracture_probability(entry['scores']):.2f} ({model})"
    ranked = sorted(entry["scores"].items(), key=lambda item: -item[1])
    others = ", ".join([f"{label} {score:.2f}" for label, score in ranked if label != entry["label"]][:2])
    label = f"{'if fractured: ' if secondary else ''}{entry['label']} {entry['confidence']:.2f}"
    return f"{label} ({others}; {model})"
