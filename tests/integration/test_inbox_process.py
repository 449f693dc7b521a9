"""The inbox's own process, killed whenever it has files in hand."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.tables import ArrivalRow, JobRow, RadiographRow
from tests.conftest import draw_radiograph, wait_until
from tests.integration.parts import PATIENCE, Installation, kill


def is_gone(path: Path) -> bool:
    return not path.exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_inbox_that_is_killed_again_and_again_loses_and_doubles_nothing(installation: Installation) -> None:
    settings, names = installation.settings, []
    for turn in range(4):
        process = installation.start("inbox")
        for number in range(30):
            name = f"{turn}-{number}.png"
            (settings.inbox / name).write_bytes(draw_radiograph(100 * turn + number))
            names.append(name)
        last = settings.inbox / names[-1]
        wait_until(partial(is_gone, last), within_seconds=PATIENCE, what="the files are being taken")
        kill([process.pid])
        process.wait(timeout=PATIENCE)
    process = installation.start("inbox")

    def arrivals() -> list[str]:
        with installation.database.reading() as session:
            return list(session.scalars(select(ArrivalRow.name)))

    wait_until(lambda: len(arrivals()) >= len(names), within_seconds=PATIENCE, what="all files are recorded")
    process.terminate()
    assert process.wait(timeout=PATIENCE) == 0
    assert sorted(arrivals()) == sorted(names)
    assert list(settings.inbox.iterdir()) == []
    with installation.database.reading() as session:
        for table in (RadiographRow, JobRow):
            assert session.scalar(select(func.count()).select_from(table)) == len(names)
