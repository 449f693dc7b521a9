from __future__ import annotations

from typing import Any

import pytest

from core.images import decode, inspect
from worker.selftest import Report, SelftestFailed, compare, known_image


def answer(label: str = "spiral", score: float = 0.7) -> dict[str, Any]:
    return {"label": label, "scores": {"spiral": score, "oblique": 1 - score}}


def test_the_known_images_are_sound_and_differ() -> None:
    one, other = known_image(1), known_image(-1)
    assert one != other
    assert one == known_image(1)
    assert inspect(one, max_pixels=10**6).frames[0].width == 320
    assert decode(one, max_pixels=10**6).std() > 20


def test_equal_answers_are_fine_within_a_thousandth() -> None:
    compare({"kind/1": answer()}, {"kind/1": answer(score=0.7009)})


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({}, "No model"),
        ({"other/1": answer()}, "does not know"),
        ({"kind/1": answer("oblique")}, "oblique in the queue and spiral directly"),
        ({"kind/1": answer(score=0.7011)}, "differs by 0.0011"),
        ({"kind/1": {"label": "spiral", "scores": {}}}, "differs by 0.7"),
        ({"kind/1": answer(score=float("nan"))}, "differs"),
    ],
)
def test_other_answers_are_told(stored: dict[str, Any], words: str) -> None:
    with pytest.raises(SelftestFailed, match=words):
        compare(stored, {"kind/1": answer()})


def test_a_step_that_fails_is_noted_and_names_itself() -> None:
    told: list[str] = []
    report = Report(told.append)
    with report.step("first"):
        pass
    with pytest.raises(SelftestFailed, match="The step 'second' failed: no disk"), report.step("second"):
        raise OSError("no disk")
    assert [(step["step"], step["ok"]) for step in report.steps] == [("first", True), ("second", False)]
    assert told[1].startswith("failed")
