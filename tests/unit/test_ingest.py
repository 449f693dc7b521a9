import hashlib
import threading
from collections.abc import Sequence

import pytest
from PIL import Image
from sqlalchemy import func, select

from core.database import Database
from core.errors import BrokerUnavailable, NoActiveModel, NotFound, StoreUnavailable, UnreadableImage
from core.ingest import Incoming, Ingest, displayable
from core.records.intake import Arrival, Intake, Submission
from core.records.models import set_active
from core.settings import Settings
from core.storage import FolderStore
from core.tables import (
    ArrivalRow,
    ArrivalStatus,
    Base,
    JobRow,
    JobStatus,
    RadiographRow,
    Source,
    SubmissionRow,
)
from tests.conftest import add_model, draw_radiograph
from tests.fakes import black_png, claimed, event_kinds, jobs_of, saved, take_in


class Door:
    """The way in with a real store and database, and a bell that is only noted."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        assert settings.store_path is not None
        self.store = FolderStore(settings.store_path)
        self.rung: list[int] = []
        self.broker_away = False
        self.ingest = Ingest(settings, database, self.store, self.announce)

    def announce(self, jobs: int) -> None:
        if self.broker_away:
            raise BrokerUnavailable
        self.rung.append(jobs)

    def take(self, *files: tuple[str, bytes], source: Source = Source.WEB) -> Intake:
        return self.take_all([Incoming(name=name, data=data, size=len(data)) for name, data in files], source)

    def take_all(self, files: Sequence[Incoming], source: Source = Source.WEB) -> Intake:
        return self.ingest.take(Submission(source=source), files)

    def count(self, table: type[Base]) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def door(settings: Settings, database: Database, model_id: int) -> Door:
    return Door(settings, database)


def verdicts(arrivals: Sequence[Arrival]) -> list[str]:
    return [arrival.error_code or ("again" if arrival.duplicate else "new") for arrival in arrivals]


def test_good_and_bad_files_are_told_apart_and_each_gets_an_answer(door: Door) -> None:
    good, huge = draw_radiograph(1), black_png(9000, 9000)
    intake = door.take(
        ("good.png", good),
        ("empty.png", b""),
        ("notes.jpg", b"only words"),
        ("cut.png", good[:30]),
        ("huge.png", huge),
        ("other.jpg", draw_radiograph(2, form="JPEG")),
    )
    assert verdicts(intake.arrivals) == ["new", "empty", "unsupported", "unreadable", "too-large", "new"]
    assert [arrival.name for arrival in intake.arrivals][:2] == ["good.png", "empty.png"]
    assert [arrival.status for arrival in intake.arrivals].count(ArrivalStatus.ACCEPTED) == 2
    assert all((arrival.error_words or "x.").endswith(".") for arrival in intake.arrivals)
    assert (intake.new_jobs, door.rung) == (2, [2])
    assert {job.status for job in jobs_of(door.database)} == {JobStatus.WAITING}
    assert event_kinds(door.database) == ["received", *["rejected"] * 4, "received"]


def test_the_original_and_what_its_header_says_are_kept(door: Door) -> None:
    data = draw_radiograph(3, width=50, height=70)
    (arrival,) = door.take(("hand.png", data)).arrivals
    with door.database.reading() as session:
        row = session.get_one(RadiographRow, arrival.radiograph_ids[0])
    assert (row.width, row.height, row.bit_depth, row.bytes) == (50, 70, 8, len(data))
    assert (row.media_type, row.name, row.source, row.frame) == ("image/png", "hand.png", Source.WEB, 0)
    assert row.sha256 == hashlib.sha256(data).hexdigest()
    assert door.store.get(row.storage_key) == data
    assert row.received_at.tzinfo is not None


def test_the_same_bytes_again_are_a_new_arrival_and_never_a_second_job(door: Door) -> None:
    data = draw_radiograph(1)
    first = door.take(("a.png", data), ("b.png", data))
    later = door.take(("c.png", data))
    assert verdicts([*first.arrivals, *later.arrivals]) == ["new", "again", "again"]
    assert len({arrival.radiograph_ids for arrival in (*first.arrivals, *later.arrivals)}) == 1
    assert (first.new_jobs, later.new_jobs, door.rung) == (1, 0, [1])
    assert (door.count(ArrivalRow), door.count(RadiographRow), door.count(JobRow)) == (3, 1, 1)


def test_the_same_name_with_other_bytes_is_another_radiograph(door: Door) -> None:
    door.take(("hand.png", draw_radiograph(1)))
    later = door.take(("hand.png", draw_radiograph(2)))
    assert verdicts(later.arrivals) == ["new"]
    assert door.count(RadiographRow) == 2


def test_two_processes_that_take_the_same_files_at_once_make_one_job_each(settings: Settings, door: Door) -> None:
    files = [(f"{seed}.png", draw_radiograph(seed)) for seed in range(12)]
    other = Door(settings, Database(door.database.url.render_as_string(hide_password=False)))
    start, failures = threading.Barrier(2), []

    def take(through: Door, order: int) -> None:
        start.wait()
        try:
            for part in (files[::order], files[:6][::order], files):
                through.take(*part)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=take, args=pair) for pair in ((door, 1), (other, -1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    other.database.dispose()
    assert failures == []
    assert (door.count(RadiographRow), door.count(JobRow), door.count(ArrivalRow)) == (12, 12, 60)


def test_each_page_of_a_file_becomes_a_radiograph_with_a_job(door: Door) -> None:
    pages = [Image.new("L", (20, 20), 40 * number) for number in range(3)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    (arrival,) = door.take(("study.tif", data)).arrivals
    assert len(arrival.radiograph_ids) == 3
    assert len(jobs_of(door.database)) == 3
    assert door.count(SubmissionRow) == 1


def test_every_active_model_gets_a_job_and_a_new_one_asks_again(door: Door) -> None:
    data = draw_radiograph(1)
    second = add_model(door.database, "binary", task="fracture")
    assert door.take(("a.png", data)).new_jobs == 2
    add_model(door.database, "third")
    assert door.take(("a.png", data)).new_jobs == 1
    with door.database.transaction() as session:
        set_active(session, "binary", active=False, actor="test")
    assert door.take(("b.png", draw_radiograph(2))).new_jobs == 2
    assert [job.model_version_id for job in jobs_of(door.database)].count(second) == 1


def test_without_an_active_model_good_files_wait_outside_and_nothing_is_recorded(
    settings: Settings, database: Database
) -> None:
    door = Door(settings, database)
    with pytest.raises(NoActiveModel, match="No model is active"):
        door.take(("a.png", draw_radiograph(1)))
    assert (door.count(ArrivalRow), door.count(SubmissionRow)) == (0, 0)
    assert verdicts(door.take(("a.png", b"")).arrivals) == ["empty"]


def test_a_broker_that_is_away_changes_nothing_for_the_sender(door: Door) -> None:
    door.broker_away = True
    intake = door.take(("a.png", draw_radiograph(1)))
    assert verdicts(intake.arrivals) == ["new"]
    assert [job.status for job in jobs_of(door.database)] == [JobStatus.WAITING]


def test_an_interactive_upload_goes_before_a_bulk_drop(door: Door) -> None:
    door.take(("bulk.png", draw_radiograph(1)), source=Source.INBOX)
    door.take(("mine.png", draw_radiograph(2)), source=Source.WEB)
    bulk, mine = jobs_of(door.database)
    assert mine.priority > bulk.priority


def test_nothing_is_recorded_when_the_original_cannot_be_kept(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise StoreUnavailable("The original cannot be stored: No space left on device.")

    with monkeypatch.context() as broken:
        broken.setattr(FolderStore, "put", full)
        with pytest.raises(StoreUnavailable):
            door.take(("a.png", draw_radiograph(1)))
    assert (door.count(ArrivalRow), door.count(JobRow), door.rung) == (0, 0, [])
    assert verdicts(door.take(("a.png", draw_radiograph(1))).arrivals) == ["new"]


def test_a_file_above_the_limit_is_refused_with_both_sizes(settings: Settings, door: Door) -> None:
    door.ingest = Ingest(settings.with_changes(max_file_bytes=2**20), door.database, door.store, door.announce)
    unread = Incoming(name="big.png", data=None, size=3 * 2**20)
    read = Incoming(name="big.png", data=b"\0" * (2**20 + 1), size=2**20 + 1)
    arrivals = door.take_all([unread, read]).arrivals
    assert verdicts(arrivals) == ["too-large", "too-large"]
    assert arrivals[0].error_words == "The file has 3.0 MiB; at most 1 MiB are accepted."


def test_what_the_door_itself_could_not_read_is_rejected_with_its_sentence(door: Door) -> None:
    problem = UnreadableImage("The file cannot be read: Permission denied.")
    (arrival,) = door.take_all([Incoming(name="a.png", data=None, size=0, problem=problem)]).arrivals
    assert (arrival.error_code, arrival.error_words) == ("unreadable", str(problem))


def test_a_later_part_of_an_upload_joins_it_only_through_the_same_door(door: Door) -> None:
    first = door.take(("a.png", draw_radiograph(1))).arrivals[0]
    joined = Submission(source=Source.WEB, continues=first.submission_id)
    later = Incoming(name="b.png", data=draw_radiograph(2), size=1)
    assert door.ingest.take(joined, [later]).arrivals[0].submission_id == first.submission_id
    for wrong in (
        Submission(source=Source.API, continues=first.submission_id),
        Submission(source=Source.WEB, continues=99),
    ):
        with pytest.raises(NotFound):
            door.ingest.take(wrong, [later])


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Röntgen 手 ✋.png", "Röntgen 手 ✋.png"),
        ("-rf *.PNG", "-rf *.PNG"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("a\nb\tc\0d\x1b[31m.png", "a�b�c�d�[31m.png"),
        ("right\u202eto left.png", "right�to left.png"),
        ("caf\udce9.png", "caf�.png"),
        ("\ud800.png", "�.png"),
        ("Cafe\u0301.png", "Café.png"),
        ("x" * 5000, "x" * 1024),
        ("", "unnamed"),
    ],
)
def test_a_name_is_kept_as_given_but_safe_to_store_and_show(name: str, kept: str) -> None:
    assert displayable(name) == kept
    displayable(name).encode()


def test_strange_names_reach_the_database(door: Door) -> None:
    names = ["\0.png", "caf\udce9.png", "\ud800.png", "..", "手" * 2000]
    door.take(*((name, draw_radiograph(number)) for number, name in enumerate(names)))
    with door.database.reading() as session:
        assert list(session.scalars(select(ArrivalRow.name).order_by(ArrivalRow.id))) == [*map(displayable, names)]


def test_a_person_who_uploads_what_waits_in_a_bulk_drop_does_not_wait_behind_it(
    database: Database, model_id: int
) -> None:
    take_in(database, 1, 2, source=Source.INBOX)
    assert take_in(database, 2, source=Source.WEB).new_jobs == 0
    assert [job.priority for job in jobs_of(database)] == [0, 10]
    take_in(database, 2, source=Source.INBOX)
    assert [job.priority for job in jobs_of(database)] == [0, 10]
    assert [job.radiograph_id for job in claimed(database, model_id, limit=1).jobs] == [2]
