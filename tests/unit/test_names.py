"""Names are found by any part of them, on both databases, whether the index or a walk finds them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import delete, select, text, update

from benchmarks.many_rows import fill
from core.database import Database
from core.pictures import Frame, ImageFacts
from core.records import names as module
from core.records.filters import Filters
from core.records.intake import Examined, Submission, record_intake
from core.records.names import named, named_downwards
from core.records.results import list_by_confidence, list_results
from core.schema import MIGRATIONS, migrate
from core.tables import RadiographRow, Source

FACTS = ImageFacts(media_type="image/png", frames=(Frame(width=8, height=8, bit_depth=8),))


def take(database: Database, *names: str, seeds: Sequence[int] = (), submission: str = "") -> list[int]:
    """Record radiographs under these names, each a content of its own unless seeds say otherwise."""
    files = []
    for name, seed in zip(names, seeds or range(100, 100 + len(names)), strict=True):
        digest = f"{seed:064x}"
        files.append(Examined(name=name, bytes=8, sha256=digest, facts=FACTS, storage_key=digest))
    with database.transaction() as session:
        intake = record_intake(session, Submission(source=Source.COMMAND, name=submission), files)
    return [number for arrival in intake.arrivals for number in arrival.radiograph_ids]


def found(database: Database, words: str) -> list[str]:
    with database.reading() as session:
        return sorted(result.name for result in list_results(session, Filters(name=words), limit=100))


@pytest.fixture(params=["the index", "a walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Find names by the index although they are frequent, or by a walk although they are rare."""
    monkeypatch.setattr(module, "_OFTEN", {"the index": 10**9, "a walk": 0}[request.param])


NAMES = ["left wrist.png", "Wrist AP.png", "100%_hip.png", "MÜLLER.png", 'a "quoted" name.png', "手首の骨折の写真.png"]
WORDS = {
    "wrist": ["Wrist AP.png", "left wrist.png"],
    "RIST": ["Wrist AP.png", "left wrist.png"],
    "t a": ["Wrist AP.png"],
    "st": ["Wrist AP.png", "left wrist.png"],
    "100%_": ["100%_hip.png"],
    "_%": [],
    "müll": ["MÜLLER.png"],
    "MU\N{COMBINING DIAERESIS}LL": ["MÜLLER.png"],
    '"quoted': ['a "quoted" name.png'],
    "骨折の": ["手首の骨折の写真.png"],
    "wrist AP.png and more": [],
    "* OR": [],
}


def test_any_part_of_a_name_finds_it_in_any_case(database: Database, model_id: int, way: None) -> None:
    take(database, *NAMES)
    assert {words: found(database, words) for words in WORDS} == WORDS


def test_later_names_and_the_names_of_submissions_find_a_radiograph_too(
    database: Database, model_id: int, way: None
) -> None:
    take(database, "first.png", "other.png", seeds=(1, 2), submission="Ward 3, winter")
    take(database, "second.png", "again.png", seeds=(1, 1))
    take(database, "third.png", seeds=(1,), submission="Teaching file")
    assert found(database, "ward 3") == ["first.png", "other.png"]
    for words in ("second", "again.png", "teaching", "THIRD", "first"):
        assert found(database, words) == ["first.png"]


def test_a_radiograph_under_ever_new_names_keeps_the_first_of_them(database: Database, model_id: int) -> None:
    for number in range(12):
        take(database, f"{number:02d} {'x' * 500}.png", seeds=(1,))
    assert found(database, "00 xxx") == found(database, "05 xxx") == [f"00 {'x' * 500}.png"]
    assert found(database, "11 xxx") == []


def test_changed_and_deleted_rows_are_changed_and_deleted_in_the_index(database: Database, model_id: int) -> None:
    [one, two] = take(database, "hand.png", "foot.png")
    with database.transaction() as session:
        session.execute(update(RadiographRow).where(RadiographRow.id == one).values(searched="knee.png"))
        session.execute(text("DELETE FROM arrival_radiographs"))
        session.execute(text("DELETE FROM events"))
        session.execute(text("DELETE FROM jobs"))
        session.execute(delete(RadiographRow).where(RadiographRow.id == two))
    with database.reading() as session:
        ids = {words: named(session, words) for words in ("hand", "foot", "knee")}
        assert {words: list(session.scalars(query)) for words, query in ids.items() if query is not None} == {
            "hand": [],
            "foot": [],
            "knee": [one],
        }


def test_frequent_names_are_walked_to_and_rare_ones_looked_up(database: Database) -> None:
    fill(database, 300)
    with database.reading() as session:
        assert named(session, "radiograph") is None
        assert named(session, "00") is None
        query = named(session, "0000123")
        assert query is not None
        assert list(session.scalars(query)) == [123]
        downwards = named_downwards(session, "radiograph")
        assert (downwards is None) != database.is_sqlite
        [least, *_] = list_by_confidence(session, Filters(name="0000123"), limit=5)
        assert least.id == 123
        page = list_results(session, Filters(name="radiograph"), limit=20, before_id=100)
        assert [result.id for result in page] == list(range(99, 79, -1))


def test_names_that_are_there_already_are_searched_after_the_migration(database: Database, model_id: int) -> None:
    # given: rows as an older program wrote them
    take(database, "Left.png", "ÜBER.png", seeds=(1, 2), submission="Ward")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0006")
    # when
    migrate(database)
    # then
    with database.reading() as session:
        assert list(session.scalars(select(RadiographRow.searched).order_by(RadiographRow.id))) == [
            "left.png\nward",
            "über.png\nward",
        ]
    assert found(database, "über") == ["ÜBER.png"]
    assert found(database, "ward") == ["Left.png", "ÜBER.png"]
    take(database, "new.png", seeds=(3,))
    assert found(database, "new") == ["new.png"]
