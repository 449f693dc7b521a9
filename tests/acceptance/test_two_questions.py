"""Both shipped models together: how likely is a fracture at all, and if there is one, which type?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.bundle import find_bundles
from core.settings import MODELS_FOLDER
from tests.acceptance.conftest import Installation


@pytest.fixture
def asked_twice(tmp_path: Path) -> Iterator[Installation]:
    """An installation with all that ships, as `make run` makes it."""
    installation = Installation(tmp_path / "home", {"FRACTURE_MODELS": str(MODELS_FOLDER)})
    installation.start()
    yield installation
    installation.stop()


def test_a_new_installation_answers_both_questions(asked_twice: Installation, test_radiographs: list[Path]) -> None:
    shipped = ("fracture", "fracture-types")
    by_task = {bundle.card.task: bundle.card for bundle in find_bundles(MODELS_FOLDER) if bundle.card.name in shipped}
    assert set(by_task) == {"fracture", "fracture-type"}
    files = test_radiographs[:6]

    asked_twice.drop(*files)

    asked_twice.wait_for_done(2 * len(files), within_seconds=90)
    for result in asked_twice.results():
        assert result["model"].startswith(f"{by_task['fracture-type'].name}/")
        assert len(result["scores"]) == 10
        fracture = result["fracture"]
        assert fracture["model"].startswith(f"{by_task['fracture'].name}/")
        assert 0 <= fracture["probability"] <= 1
        threshold = by_task["fracture"].decision_threshold
        assert threshold is not None
        assert (fracture["label"] == "fractured") == (fracture["probability"] >= threshold)
