from __future__ import annotations

import io
import weakref
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import func, select

from core.errors import DatabaseUnavailable
from core.ingest import Incoming
from core.settings import Settings
from core.storage import FolderStore
from core.tables import ArrivalRow, JobRow, RadiographRow, Source, SubmissionRow
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import Site, left_to_the_collector
from web import received

GOOD = ("hand.png", draw_radiograph(1))
OTHER = ("foot.jpg", draw_radiograph(2, form="JPEG"))


def count(site: Site, table: type) -> int:
    with site.database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_one_file_is_accepted_kept_and_announced(site: Site) -> None:
    answer = site.upload(GOOD)

    assert answer.status_code == 202
    [file] = answer.json["files"]
    assert file["name"] == "hand.png"
    assert (file["status"], file["duplicate"], file["error"]) == ("accepted", False, None)
    assert file["urls"] == [f"/api/v1/radiographs/{file['radiographs'][0]}"]
    assert answer.headers["Location"] == f"/api/v1/submissions/{answer.json['submission']}"
    assert site.rung == [1]
    assert len([path for path in FolderStore.at(site.settings.store_url).folder.glob("*/*") if path.is_file()]) == 1


def test_an_upload_through_the_api_is_recorded_as_api_and_one_through_the_page_as_web(site: Site) -> None:
    site.upload(GOOD)
    site.upload(OTHER, to="/submissions")

    with site.database.reading() as session:
        assert list(session.scalars(select(SubmissionRow.source).order_by(SubmissionRow.id))) == [
            Source.API,
            Source.WEB,
        ]


def test_a_mixed_upload_is_answered_per_file_in_order(site: Site) -> None:
    renamed_text = ("notes.png", b"Dear colleague, this is no picture.")
    cut_off_header = ("cut.png", GOOD[1][:20])

    answer = site.upload(GOOD, ("empty.png", b""), renamed_text, OTHER, cut_off_header)

    assert answer.status_code == 202
    files = answer.json["files"]
    assert [file["name"] for file in files] == ["hand.png", "empty.png", "notes.png", "foot.jpg", "cut.png"]
    assert [file["status"] for file in files] == ["accepted", "rejected", "rejected", "accepted", "rejected"]
    assert files[1]["error"] == {"code": "empty", "words": "The file is empty (0 bytes)."}
    assert files[2]["error"]["code"] == "unsupported"
    assert files[4]["error"]["code"] == "unreadable" or files[4]["error"]["code"] == "unsupported"
    assert [file["radiographs"] for file in files if file["error"]] == [[], [], []]
    assert site.rung == [2]


def test_nothing_usable_is_422_with_a_sentence_per_file_and_rings_nobody(site: Site) -> None:
    answer = site.upload(("empty.png", b""), ("notes.txt", b"hello"))

    assert answer.status_code == 422
    assert [file["error"]["code"] for file in answer.json["files"]] == ["empty", "unsupported"]
    assert site.rung == []
    assert count(site, ArrivalRow) == 2


def test_a_duplicate_shows_its_stored_result_at_once(site: Site) -> None:
    [first] = site.take_in(1)
    site.classify("spiral", 0.8)

    answer = site.upload(("again.png", GOOD[1]))

    [file] = answer.json["files"]
    assert answer.status_code == 202
    assert file["duplicate"] is True
    assert file["radiographs"] == [first]
    assert file["results"][0]["label"] == "spiral"
    assert file["results"][0]["confidence"] == pytest.approx(0.8)
    assert answer.json["unfinished"] == 0
    assert count(site, JobRow) == 1
    assert site.rung == [1]


def test_the_same_bytes_twice_in_one_upload_become_one_radiograph_and_two_arrivals(site: Site) -> None:
    answer = site.upload(GOOD, ("copy.png", GOOD[1]))

    assert [file["duplicate"] for file in answer.json["files"]] == [False, True]
    assert (count(site, RadiographRow), count(site, ArrivalRow)) == (1, 2)


def test_a_hundred_files_at_once_are_a_hundred_arrivals(site: Site) -> None:
    answer = site.upload(*((f"{seed}.png", draw_radiograph(seed, width=16, height=16)) for seed in range(100)))

    assert answer.status_code == 202
    assert len(answer.json["files"]) == 100
    assert count(site, JobRow) == 100
    assert site.rung == [100]


def test_every_page_of_a_tiff_is_a_radiograph_in_the_order_of_the_pages(site: Site) -> None:
    stream = io.BytesIO()
    pages = [Image.new("L", (20 + page, 20), page) for page in range(12)]
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])

    answer = site.upload(("study.tif", stream.getvalue()))

    [file] = answer.json["files"]
    widths = [site.client.get(url).json["width"] for url in file["urls"]]
    assert widths == [20 + page for page in range(12)]


def test_a_file_above_the_limit_is_rejected_with_both_sizes_and_its_neighbour_is_taken(settings: Settings) -> None:
    site = Site(settings.with_changes(max_file_bytes=len(GOOD[1]) + 10))

    answer = site.upload(GOOD, ("huge.png", GOOD[1] + bytes(2000)))

    assert answer.status_code == 202
    assert [file["status"] for file in answer.json["files"]] == ["accepted", "rejected"]
    assert answer.json["files"][1]["error"]["code"] == "too-large"
    assert "MiB" in answer.json["files"][1]["error"]["words"]


def test_a_picture_with_too_many_pixels_is_rejected_before_it_is_decoded(settings: Settings) -> None:
    site = Site(settings.with_changes(max_pixels=50))

    answer = site.upload(GOOD)

    assert answer.status_code == 422
    assert answer.json["files"][0]["error"]["code"] == "too-large"


def test_too_many_files_are_413_and_nothing_is_recorded(settings: Settings) -> None:
    site = Site(settings.with_changes(max_upload_files=2))

    answer = site.upload(GOOD, OTHER, ("third.png", draw_radiograph(3)))

    assert answer.status_code == 413
    assert "3 files" in answer.json["detail"]
    assert "at most 2" in answer.json["detail"]
    assert count(site, ArrivalRow) == 0


def test_more_parts_than_any_form_may_have_are_413_with_a_sentence(settings: Settings) -> None:
    site = Site(settings.with_changes(max_upload_files=1))

    # A form that is given up half-way leaves its temporary files behind.
    with left_to_the_collector():
        answer = site.upload(*(("x.png", b"x") for _ in range(200)))

    assert answer.status_code == 413
    assert "at most 1 files" in answer.json["detail"]


def test_a_body_above_the_limit_is_413_with_a_sentence(settings: Settings) -> None:
    site = Site(settings.with_changes(max_file_bytes=1000))

    answer = site.client.post(
        "/api/v1/radiographs",
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": str(2**21)},
    )

    assert answer.status_code == 413
    assert answer.json["code"] == "too-much-at-once"
    assert answer.json["detail"].endswith("send fewer at once.")


def test_no_file_at_all_is_422(site: Site) -> None:
    answer = site.client.post("/api/v1/radiographs")

    assert answer.status_code == 422
    assert answer.json["code"] == "no-files"
    assert answer.mimetype == "application/problem+json"


def test_a_file_in_another_field_is_not_dropped_silently(site: Site) -> None:
    data = {"file": (io.BytesIO(GOOD[1]), "hand.png")}

    answer = site.client.post("/api/v1/radiographs", data=data)

    assert answer.status_code == 400
    assert "'files'" in answer.json["detail"]


@pytest.mark.parametrize(
    "body", [b"", b"--x", b"--x\r\n\r\n--x--", b'--x\r\nContent-Disposition: form-data; name="files']
)
def test_a_broken_form_is_the_senders_fault(site: Site, body: bytes) -> None:
    answer = site.client.post("/api/v1/radiographs", data=body, content_type="multipart/form-data; boundary=x")

    assert 400 <= answer.status_code < 500


def test_a_broker_that_is_away_loses_nothing(site: Site) -> None:
    site.broker_away = True

    answer = site.upload(GOOD)

    assert answer.status_code == 202
    assert answer.json["files"][0]["results"][0]["status"] == "waiting"
    assert count(site, JobRow) == 1


def test_without_an_active_model_the_answer_is_503_and_says_so(settings: Settings) -> None:
    site = Site(settings, model=False)

    answer = site.upload(GOOD)

    assert answer.status_code == 503
    assert answer.json["code"] == "no-active-model"
    assert answer.headers["Retry-After"]
    assert count(site, ArrivalRow) == 0


def test_a_store_that_cannot_be_written_is_503_and_nothing_is_recorded(site: Site) -> None:
    store = FolderStore.at(site.settings.store_url).folder
    store.rmdir()
    store.write_text("a file where the folder should be")

    answer = site.upload(GOOD)

    assert answer.status_code == 503
    assert answer.json["code"] == "store-unavailable"
    assert count(site, ArrivalRow) == 0


def test_a_database_that_is_away_is_503(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(type(site.database), "transaction", lambda _self: away())

    answer = site.upload(GOOD)

    assert answer.status_code == 503
    assert answer.json["detail"] == "The database does not answer."


def test_a_later_part_joins_its_submission(site: Site) -> None:
    first = site.upload(GOOD, name="ward 3").json

    second = site.upload(OTHER, submission=str(first["submission"])).json

    assert second["submission"] == first["submission"]
    assert [file["name"] for file in second["files"]] == ["foot.jpg"]
    whole = site.client.get(first["url"]).json
    assert whole["name"] == "ward 3"
    assert [file["name"] for file in whole["files"]] == ["hand.png", "foot.jpg"]


@pytest.mark.parametrize(("number", "status"), [("999", 404), ("x", 400), ("0", 400), ("9" * 30, 400)])
def test_a_part_of_an_unknown_submission_is_refused(site: Site, number: str, status: int) -> None:
    assert site.upload(GOOD, submission=number).status_code == status
    assert count(site, ArrivalRow) == 0


def test_a_submission_of_the_page_is_not_joined_through_the_api(site: Site) -> None:
    answer = site.upload(GOOD, to="/submissions", headers={"Accept": "application/json"})

    assert site.upload(OTHER, submission=str(answer.json["submission"])).status_code == 404


def test_the_page_redirects_to_the_submission_which_follows_the_files_without_javascript(site: Site) -> None:
    answer = site.upload(GOOD, ("empty.png", b""), to="/submissions")

    assert answer.status_code == 303
    page = site.client.get(answer.headers["Location"]).text
    assert "hand.png" in page
    assert "Waiting in the queue" in page
    assert "The file is empty (0 bytes)." in page
    assert '<noscript><meta http-equiv="refresh"' in page

    site.classify("greenstick", 0.66)
    page = site.client.get(answer.headers["Location"]).text
    assert "Greenstick" in page
    assert "66 %" in page
    assert "1 of 1 file classified. 1 file was rejected." in page
    assert 'http-equiv="refresh"' not in page


def test_the_page_asked_for_json_answers_as_the_api(site: Site) -> None:
    answer = site.upload(GOOD, to="/submissions", headers={"Accept": "application/json"})

    assert answer.status_code == 202
    assert answer.json["files"][0]["status"] == "accepted"
    assert answer.json["page"] == f"/submissions/{answer.json['submission']}"


def test_the_form_sent_without_a_file_shows_itself_again_with_a_sentence(site: Site) -> None:
    # What browsers send: one nameless, empty part.
    answer = site.client.post("/submissions", data={"files": (io.BytesIO(b""), "")})

    assert answer.status_code == 422
    assert "Choose at least one file" in answer.text
    assert count(site, SubmissionRow) == 0


def test_the_files_of_an_upload_are_not_in_memory_all_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    living: weakref.WeakSet[Incoming] = weakref.WeakSet()
    most = 0

    def counted(**values: Any) -> Incoming:
        nonlocal most
        incoming = Incoming(**values)
        living.add(incoming)
        most = max(most, len(living))
        return incoming

    monkeypatch.setattr(received, "Incoming", counted)
    answer = site.upload(*((f"{seed}.png", draw_radiograph(seed)) for seed in range(40)))

    assert len(answer.json["files"]) == 40
    assert most <= 8  # as many as are written side by side


def test_a_part_without_a_name_is_told_in_a_sentence(site: Site) -> None:
    body = b'--x\r\nContent-Disposition: form-data; filename="hand.png"\r\n\r\n' + GOOD[1] + b"\r\n--x--\r\n"
    answer = site.client.post("/api/v1/radiographs", data=body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 400
    assert "field 'files'" in answer.json["detail"]


def test_files_that_join_a_submission_which_does_not_exist_leave_nothing_behind(site: Site) -> None:
    assert site.upload(GOOD, submission="77").status_code == 404
    folder = FolderStore.at(site.settings.store_url).folder
    assert [path for path in folder.rglob("*") if path.is_file()] == []
