"""The DICOM receiver: what is stored, who is refused, what is too much, and how it ends."""

from __future__ import annotations

import io
import shutil
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from sqlalchemy import select

from cli.commands.dicom import dicom
from cli.commands.up import _roles
from core import images
from core.alive import NoSignOfLife, seconds_since_life
from core.database import Database
from core.dicom.codecs import DECODERS, NATIVE, SYNTAXES
from core.dicom.framing import as_file
from core.dicom.peers import Peers
from core.errors import ConfigurationError, RejectedImage, StoreUnavailable
from core.ingest import Ingest
from core.records.controls import pause, resume
from core.records.workers import living
from core.schema import migrate
from core.settings import Settings
from core.storage import FolderStore
from core.tables import ArrivalRow, ArrivalStatus, EventRow, JobRow, RadiographRow, Source, SubmissionRow
from tests import dicom_files
from tests.certificates import make_certificates
from tests.conftest import add_model, wait_until
from tests.dicom_cases import MADE, MAX_PIXELS
from tests.dicom_files import CAPTURE, dataset, ramp
from tests.dicom_sending import PATIENCE, Answered, Receiver, associated, header, receiving, send, send_one
from worker.dicom.pieces import Bounded, Messages
from worker.dicom.server import open_door
from worker.dicom.storing import (
    BUG,
    CANNOT_UNDERSTAND,
    NOT_AUTHORISED,
    OUT_OF_RESOURCES,
    SOP_CLASSES,
    SUCCESS,
    WRONG_CLASS,
    Storing,
)

DX, MR = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.4"
STATUSES = {"wrong-modality": WRONG_CLASS, "too-large": OUT_OF_RESOURCES}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with a model: migrating one for each test would take most of the time."""
    file = tmp_path_factory.mktemp("template") / "test.db"
    database = Database(f"sqlite:///{file}")
    migrate(database)
    add_model(database, "test-model")
    database.dispose()
    return file


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Iterator[Database]:
    """Of one kind alone: behind the receiver the way in is that of every file, which is tested on both."""
    database = Database(f"sqlite:///{shutil.copy(template, tmp_path)}")
    yield database
    database.dispose()


@pytest.fixture
def receiver(settings: Settings, database: Database) -> Iterator[Receiver]:
    with receiving(settings, database) as receiver:
        yield receiver


def picture(number: int = 0) -> bytes:
    return dicom_files.dicom(ramp() // (number + 1), SOPInstanceUID=f"1.2.3.4.{number}")


def rows(database: Database, table: Any) -> list[Any]:
    with database.reading() as session:
        return list(session.scalars(select(table).order_by(table.id)))


def test_what_comes_on_one_association_is_one_submission(receiver: Receiver, tmp_path: Path) -> None:
    with associated(receiver.port) as association:
        assert association.send_c_echo().Status == SUCCESS
        assert [send(association, picture(number), tmp_path) for number in range(3)] == [Answered(SUCCESS)] * 3
    assert send_one(receiver.port, picture(0), tmp_path) == Answered(SUCCESS)

    first, second = rows(receiver.database, SubmissionRow)
    assert [(row.source, row.name, row.priority) for row in (first, second)] == [(Source.DICOM, "", 0)] * 2
    assert [row.submission_id for row in rows(receiver.database, ArrivalRow)] == [first.id] * 3 + [second.id]
    radiographs = rows(receiver.database, RadiographRow)
    assert len(radiographs) == 3  # the same object again is another arrival alone
    assert {row.source for row in radiographs} == {Source.DICOM}
    assert all(row.name.startswith("dicom-") for row in radiographs)
    assert len(rows(receiver.database, JobRow)) == 3
    assert receiver.rung == [1, 1, 1]


def test_every_file_is_answered_as_the_door_finds_it_and_kept_to_the_last_level(
    receiver: Receiver, tmp_path: Path
) -> None:
    store = FolderStore.at(receiver.settings.store_url)
    files = {case.name: case.make() for case in MADE if case.name != "MPEG-4"}  # that is not even agreed on
    metas = [header(data).file_meta for data in files.values()]
    wanted = {(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in metas}
    with associated(receiver.port, contexts=[build_context(*each) for each in sorted(wanted)]) as association:
        for name, data in files.items():
            frames, expected = 0, SUCCESS
            try:
                frames = len(images.inspect(data, max_pixels=MAX_PIXELS).frames)
            except RejectedImage as problem:
                expected = STATUSES.get(problem.code, CANNOT_UNDERSTAND)
            assert send(association, data, tmp_path).status == expected, name
            if name == "another size inside":  # found when it is decoded
                continue
            for frame, row in enumerate(rows(receiver.database, RadiographRow)[-frames:] if frames else ()):
                given, kept = (
                    images.decode(each, max_pixels=MAX_PIXELS, frame=frame)
                    for each in (data, store.get(row.storage_key))
                )
                assert np.array_equal(given, kept), name
    refused = [row for row in rows(receiver.database, ArrivalRow) if row.status is ArrivalStatus.REJECTED]
    assert {row.error_code for row in refused} == {"too-large", "unreadable", "unsupported", "wrong-modality"}


def test_every_kind_is_agreed_on_in_every_compression_that_is_read_and_nothing_else(receiver: Receiver) -> None:
    assert set(SYNTAXES) == {*NATIVE, *DECODERS}
    one_each = [build_context(DX, syntax) for syntax in SYNTAXES]
    film, magnetic = build_context(DX, "1.2.840.10008.1.2.4.102"), build_context(MR)
    with associated(receiver.port, contexts=[*one_each, film, magnetic]) as association:
        assert len(association.accepted_contexts) == len(SYNTAXES)
        assert {context.abstract_syntax for context in association.rejected_contexts} == {DX, MR}
    with associated(receiver.port) as association:
        assert len(association.accepted_contexts) == 1 + len(SOP_CLASSES)
    lossy_first = build_context(DX, ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.90"])
    with associated(receiver.port, contexts=[lossy_first]) as association:
        assert association.accepted_contexts[0].transfer_syntax == ["1.2.840.10008.1.2.4.90"]


def test_the_same_object_is_always_the_same_file() -> None:
    once, again = (as_file(b"data", syntax=SYNTAXES[0], sop_class=DX, sop_instance="1.2.3") for _ in range(2))
    assert once == again
    assert once.endswith(b"data")
    assert b"PYNETDICOM" not in once.upper()


@pytest.mark.parametrize("modality", ["MR", "XC"])
def test_another_modality_as_a_secondary_capture_is_refused(modality: str, receiver: Receiver, tmp_path: Path) -> None:
    found = send_one(receiver.port, dicom_files.dicom(SOPClassUID=CAPTURE, Modality=modality), tmp_path)
    assert found.status == WRONG_CLASS
    assert "DICOM file" in found.comment
    (arrival,) = rows(receiver.database, ArrivalRow)
    assert (arrival.status, arrival.error_code) == (ArrivalStatus.REJECTED, "wrong-modality")


def test_only_who_is_named_may_send(
    settings: Settings, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    peers = Peers.read("XRAY1@127.0.0.1, XRAY2@10.0.0.1")
    with receiving(settings, database, dicom_peers=peers) as receiver:
        ours = "FRACTURE-QUEUE"
        for title, called, reason in (("XRAY2", ours, 3), ("QUILL", ours, 3), ("XRAY1", "OTHER", 7)):
            with associated(receiver.port, title=title, called=called) as association:
                assert association.is_rejected
                refusal: Any = association.acceptor.primitive
                assert refusal.diagnostic == reason
        assert rows(database, SubmissionRow) == []
        assert send_one(receiver.port, picture(), tmp_path, title="XRAY1").status == SUCCESS
    assert [row.name for row in rows(database, SubmissionRow)] == ["XRAY1"]
    assert {row.actor for row in rows(database, EventRow) if row.kind == "received"} == {"dicom:XRAY1"}
    assert "no such AE title" in caplog.text
    assert "QUILL" not in caplog.text


def test_an_address_that_is_not_named_is_not_even_answered(settings: Settings, database: Database) -> None:
    with (
        receiving(settings, database, dicom_peers=Peers.read("*@10.0.0.0/8")) as receiver,
        associated(receiver.port) as association,
    ):
        assert not association.is_established
        assert not association.is_rejected


def test_a_sender_is_looked_at_again_when_it_stores(settings: Settings, database: Database) -> None:
    storing = Storing(settings, Ingest(settings, database, FolderStore.at(settings.store_url), lambda _: None))

    def answered(address: str, sop_class: str) -> int:
        event: Any = SimpleNamespace(
            assoc=SimpleNamespace(dimse=Messages(None, address, 10, threading.Event())),  # type: ignore[arg-type]
            request=SimpleNamespace(AffectedSOPClassUID=sop_class, DataSet=Bounded(10)),
        )
        return int(storing(event).Status)

    assert answered("10.0.0.1", DX) == NOT_AUTHORISED
    assert answered("127.0.0.1", MR) == WRONG_CLASS


def test_what_is_too_large_is_refused_and_the_next_is_taken(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    large = dicom_files.dicom(ramp(bits=16, width=400, height=400), bits=16)
    with (
        receiving(settings, database, max_file_bytes=50_000) as receiver,
        associated(receiver.port) as association,
    ):
        found = send(association, large, tmp_path)
        assert found.status == OUT_OF_RESOURCES
        assert found.comment == "The file has 0.3 MiB; at most 0.0476837 MiB are accepted."
        assert send(association, picture(), tmp_path).status == SUCCESS
    refused, taken = rows(database, ArrivalRow)
    assert (refused.error_code, refused.sha256) == ("too-large", None)
    assert refused.bytes > 300_000
    assert taken.submission_id == refused.submission_id


def test_no_piece_is_longer_than_was_agreed(receiver: Receiver) -> None:
    for beginning in (struct.pack(">BBL", 1, 0, 2**31), struct.pack(">BBL", 4, 0, 2**31), b"GET / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE) as stranger:
            stranger.sendall(beginning)
            with suppress(ConnectionResetError):  # or it says that it aborts, and closes
                while stranger.recv(100):
                    pass
    with associated(receiver.port) as association:
        assert association.send_c_echo().Status == SUCCESS


def test_so_many_associations_at_once_and_no_more(settings: Settings, database: Database) -> None:
    with receiving(settings, database, dicom_associations=1) as receiver:
        with associated(receiver.port) as first:
            assert first.is_established
            with associated(receiver.port) as second:
                assert second.is_rejected
                refusal: Any = second.acceptor.primitive
                assert refusal.result == 2  # for the moment
        wait_until(lambda: not receiver.door.active_associations, within_seconds=PATIENCE, what="the first has ended")
        with associated(receiver.port) as third:
            assert third.is_established


def test_a_probe_of_the_port_takes_nobodys_place(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.dicom.server._GREETING_SECONDS", 10 * PATIENCE)
    with receiving(settings, database, dicom_associations=1) as receiver:
        for _ in range(3):
            socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE).close()

        def let_in() -> bool:
            with associated(receiver.port) as association:
                return association.is_established

        wait_until(let_in, within_seconds=PATIENCE, what="the place is free again")


def test_what_cannot_be_stored_for_the_moment_is_refused_and_not_recorded(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver.database.transaction() as session:
        pause(session, "intake", actor="test")
    found = send_one(receiver.port, picture(), tmp_path)
    assert found.status == OUT_OF_RESOURCES
    assert "paused" in found.comment
    with receiver.database.transaction() as session:
        resume(session, "intake", actor="test")

    def full(*_: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "put", full)
        assert send_one(receiver.port, picture(), tmp_path).status == OUT_OF_RESOURCES
    assert rows(receiver.database, ArrivalRow) == []
    assert send_one(receiver.port, picture(), tmp_path).status == SUCCESS


def test_a_bug_is_told_without_what_came(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name = "".join(("QUILL", "FEATHER"))  # not in one piece, because the log shows lines of the program

    def broken(*_: object, **__: object) -> None:
        raise KeyError(name)

    monkeypatch.setattr(Ingest, "take", broken)
    found = send_one(receiver.port, picture(), tmp_path)
    assert found.status == BUG
    assert "KeyError" in caplog.text
    assert name not in caplog.text + found.comment


def test_what_is_being_received_is_finished_and_the_rest_refused(settings: Settings, database: Database) -> None:
    patient = receiving(settings, database, stop_seconds=4 * PATIENCE)
    with patient as receiver, associated(receiver.port) as idle, associated(receiver.port) as busy:
        busy._reactor_checkpoint.clear()  # else the client takes the answer as a request
        (context,) = [each for each in busy.accepted_contexts if each.abstract_syntax == DX]
        pieces = in_pieces(context.context_id or 0, dataset(SOPInstanceUID="1.2.3"))
        for piece in pieces[:3]:
            busy.dul.send_pdu(piece)
        wait_until(
            lambda: any(each.dimse.busy for each in receiver.door.active_associations),  # type: ignore[attr-defined]
            within_seconds=PATIENCE,
            what="the first pieces are there",
        )
        receiver.stop.set()
        wait_until(lambda: not idle.is_established, within_seconds=PATIENCE, what="the idle association is ended")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE).close()
        for piece in pieces[3:]:
            busy.dul.send_pdu(piece)
        _, answer = busy.dimse.get_msg(block=True)
        busy._reactor_checkpoint.set()
        assert answer is not None
        assert answer.Status == SUCCESS
        wait_until(lambda: not busy.is_established, within_seconds=PATIENCE, what="the other is ended after it")
    assert len(rows(database, RadiographRow)) == 1


def in_pieces(context: int, sent: Any) -> list[Any]:
    """Return what C-STORE sends, piece by piece."""
    primitive, message, stream = C_STORE(), C_STORE_RQ(), io.BytesIO()
    primitive.MessageID, primitive.Priority = 1, 0
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = sent.SOPClassUID, sent.SOPInstanceUID
    del sent.file_meta
    sent.save_as(stream, implicit_vr=False, little_endian=True)
    primitive.DataSet = io.BytesIO(stream.getvalue())
    message.primitive_to_message(primitive)
    return list(message.encode_msg(context, 512))


def test_an_object_that_begins_after_the_end_is_refused(receiver: Receiver, tmp_path: Path) -> None:
    with associated(receiver.port) as association:
        receiver.door.stopping.set()
        found = send(association, picture(), tmp_path)
    assert found == Answered(OUT_OF_RESOURCES, "The receiver is being stopped.")
    assert rows(receiver.database, ArrivalRow) == []


def test_it_shows_life_until_it_ends(settings: Settings, database: Database) -> None:
    with receiving(settings, database) as receiver:
        wait_until(lambda: shows_life(settings), within_seconds=PATIENCE, what="a sign of life")

        def reported() -> int:
            with database.reading() as session:
                return len(living(session, role="dicom", within_seconds=PATIENCE))

        wait_until(lambda: reported() == 1, within_seconds=PATIENCE, what="it reports")
        receiver.end()
        assert not shows_life(settings)
        assert reported() == 0


def shows_life(settings: Settings) -> bool:
    try:
        return seconds_since_life(settings.runtime, "dicom") < PATIENCE
    except NoSignOfLife:
        return False


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, "receiver", "sender", "stranger")
    return folder


def client_context(folder: Path, own: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "receiver.pem"))
    if own is not None:
        context.load_cert_chain(folder / f"{own}.pem", folder / f"{own}.key")
    return context


def test_with_tls_nobody_is_heard_in_the_clear_and_only_known_certificates(
    settings: Settings, database: Database, certificates: Path, tmp_path: Path
) -> None:
    tls = {
        "dicom_tls_certificate": certificates / "receiver.pem",
        "dicom_tls_key": certificates / "receiver.key",
        "dicom_tls_clients": certificates / "sender.pem",
    }
    with receiving(settings, database, **tls) as receiver:
        # One that says nothing keeps nobody out.
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE):
            known = client_context(certificates, "sender")
            assert send_one(receiver.port, picture(), tmp_path, tls=known).status == SUCCESS
            for own in ("stranger", None):
                with associated(receiver.port, tls=client_context(certificates, own)) as association:
                    assert not association.is_established
            with associated(receiver.port) as association:
                assert not association.is_established
        assert send_one(receiver.port, picture(1), tmp_path, tls=known).status == SUCCESS
    assert len(rows(database, RadiographRow)) == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dicom_host": "0.0.0.0"}, "FRACTURE_DICOM_PEERS allows none"),  # noqa: S104 - it is refused
        ({"dicom_host": "192.0.2.1", "dicom_peers": Peers.read("*@10.0.0.0/8")}, "cannot be used"),
        ({"dicom_tls_certificate": Path("/missing"), "dicom_tls_key": Path("/missing")}, "files in PEM"),
    ],
)
def test_a_door_that_cannot_be_opened_says_why(wrong: dict[str, Any], words: str, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=words):
        open_door(settings.with_changes(**wrong), lambda _: None)  # type: ignore[arg-type, return-value]


def test_a_port_that_is_taken_is_named(receiver: Receiver, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="FRACTURE_DICOM_PORT"):
        open_door(settings.with_changes(dicom_port=receiver.port), lambda _: None)  # type: ignore[arg-type, return-value]


def test_up_runs_it_where_it_is_asked_for(settings: Settings) -> None:
    assert "dicom" not in [role.name for role in _roles(settings)]
    assert "dicom" in [role.name for role in _roles(settings.with_changes(dicom=True))]


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.dicom.find_spec", lambda _: None)
    error = CliRunner().invoke(dicom).exception
    assert isinstance(error, ConfigurationError)
    assert "fracture-queue[dicom-net]" in str(error)
