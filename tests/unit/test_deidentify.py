"""Names and other identifiers: what becomes of each element, and that none is found anywhere afterwards."""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.tag import Tag
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit
from sqlalchemy import select

from core import images
from core.database import Database
from core.dicom.profile import EMPTIED, RENUMBERED, REPLACED, actions, deidentified
from core.errors import ConfigurationError
from core.ingest import Ingest
from core.pseudonyms import FILE_NAME, Pseudonyms
from core.records.intake import Submission
from core.settings import Settings
from core.storage import FolderStore
from core.tables import RadiographRow, Source
from tests.conftest import PROJECT
from tests.dicom_cases import MADE, MAX_PIXELS, READ
from tests.dicom_files import compressed, dataset, dicom, ramp, written
from tests.profile_table import profile_rows
from tests.unit.desk import Desk

KEY = Pseudonyms("k" * 32)
PLANTED = "QUILLFEATHER"


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def cleaned(made: Dataset) -> Dataset:
    return read(deidentified(written(made), KEY).data)


def planted(vr: str) -> Any:
    """Return a value of a kind of element that can be found again."""
    inner = Dataset()
    inner.PatientName = PLANTED
    inner.add_new(0x00080104, "LO", PLANTED)
    values = {
        **dict.fromkeys(("DA",), "19610203"),
        **dict.fromkeys(("TM",), "010203"),
        **dict.fromkeys(("DT",), "19610203010203"),
        **dict.fromkeys(("AS",), "077Y"),
        **dict.fromkeys(("DS", "IS"), "4711"),
        **dict.fromkeys(("FD", "FL", "SL", "SS", "UL", "US", "SV", "UV"), 4711),
        **dict.fromkeys(("OB", "OW", "OF", "OD", "OL", "OV", "UN"), PLANTED.encode()),
        "UI": "1.2.99.4711",
        "SQ": [inner],
        "UR": f"https://{PLANTED}",
    }
    return values.get(vr, PLANTED)


def test_every_element_of_the_profile_is_dealt_with() -> None:
    made = dataset()
    tags = [Tag(tag) for tag in actions() if tag >> 16 >= 8 and dictionary_has_tag(tag)]
    for tag in tags:
        vr = dictionary_VR(tag).split(" or ")[0]
        made.add_new(tag, vr, planted(vr))
    before = written(made)
    assert before.count(PLANTED.encode()) > 300
    left = deidentified(before, KEY).data
    assert PLANTED.encode() not in left
    kept = read(left)
    for tag in tags:
        action, where = actions()[int(tag)], keyword_for_tag(tag)
        if where in ("PatientID", "PatientName"):
            assert kept[tag].value == deidentified(before, KEY).patient_key
        elif tag in kept:
            assert action in (EMPTIED, REPLACED, RENUMBERED), where
            assert str(kept[tag].value) != str(planted(kept[tag].VR)), where
            assert action != EMPTIED or not kept[tag].value, where
    page = (PROJECT / "docs" / "dicom-profile.md").read_text(encoding="utf-8").splitlines()
    missing = [row for row in profile_rows() if row not in page]
    assert not missing, "`make docs` writes the table anew"


def test_what_the_profile_does_not_mention_goes_too() -> None:
    made = dataset()
    block = made.private_block(0x0019, PLANTED, create=True)
    block.add_new(0x01, "LO", PLANTED)
    made.add_new(0x60000022, "LO", PLANTED)  # an overlay's description
    made.add_new(0x50000022, "LO", PLANTED)  # a curve's
    made.add_new(0x00189999, "LO", PLANTED)  # unknown
    made.add_new(0x00283003, "LT", PLANTED)  # a long text that the table leaves alone
    made.PixelData += PLANTED.encode()  # behind the pixels
    made.preamble = (PLANTED.encode() + bytes(128))[:128]
    made.file_meta.SourceApplicationEntityTitle = PLANTED
    made.file_meta.PrivateInformationCreatorUID = UID("1.2.99")
    made.file_meta.PrivateInformation = PLANTED.encode()
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "R-10242", "SRT", "cranio-caudal"
    view.PatientName = PLANTED
    made.ViewCodeSequence = [view]
    data = written(made) + b"\xfc\xff\xfc\xffOB\0\0\x0c\0\0\0" + PLANTED.encode()
    assert data.count(PLANTED.encode()) == 12
    left = deidentified(data, KEY).data
    assert PLANTED.encode() not in left
    assert read(left).ViewCodeSequence[0].CodeMeaning == "cranio-caudal"


def test_the_file_says_what_was_done_to_it() -> None:
    left = cleaned(dataset(PatientID="4711", StudyDate="20200101"))
    assert left.PatientIdentityRemoved == "YES"
    assert left.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert left.LongitudinalTemporalInformationModified == "REMOVED"
    assert left.StudyDate == ""


@pytest.mark.parametrize("case", [case for case in MADE if case.expected == READ], ids=lambda case: case.name)
def test_the_picture_stays_the_same(case: Any) -> None:
    data = case.make()
    left = deidentified(data, KEY).data
    assert deidentified(data, KEY).data == left  # or the same file would be stored twice
    before, after = (images.inspect(each, max_pixels=MAX_PIXELS) for each in (data, left))
    assert before == after
    for frame in range(len(before.frames)):
        one, other = (images.decode(each, max_pixels=MAX_PIXELS, frame=frame) for each in (data, left))
        assert (one == other).all()


def test_real_files_keep_their_picture(data_folder: Path) -> None:
    data = (data_folder / "dicom" / "RG3_J2KI.dcm").read_bytes()
    left = deidentified(data, KEY)
    assert (images.decode(left.data, max_pixels=MAX_PIXELS) == images.decode(data, max_pixels=MAX_PIXELS)).all()
    for name in ("PatientName", "PatientID", "StudyInstanceUID", "InstitutionName"):
        value = str(read(data).get(name, ""))
        assert not value or value.encode() not in left.data


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless])
def test_comments_in_compressed_pictures_go(syntax: str) -> None:
    made = read(compressed(ramp(bits=8), syntax, bits=8))
    stream = get_frame(made.PixelData, 0, number_of_frames=1)
    comment = PLANTED.encode()
    if syntax == JPEGBaseline8Bit:
        for marker in (b"\xff\xfe", b"\xff\xe1"):
            stream = stream[:2] + marker + (2 + len(comment)).to_bytes(2, "big") + comment + stream[2:]
    else:
        end = stream.index(b"\xff\x90")
        stream = stream[:end] + b"\xff\x64" + (4 + len(comment)).to_bytes(2, "big") + b"\0\1" + comment + stream[end:]
    made.PixelData = encapsulate([stream])
    data = written(made)
    left = deidentified(data, KEY).data
    assert comment in data
    assert comment not in left
    assert (images.decode(left, max_pixels=MAX_PIXELS) == images.decode(data, max_pixels=MAX_PIXELS)).all()


def test_files_of_one_patient_have_one_key_and_nobody_else_has_it() -> None:
    def key(**tags: Any) -> str | None:
        return deidentified(dicom(**tags), KEY).patient_key

    assert key(PatientID="4711", StudyDate="20200101") == key(PatientID=" 4711 ", PatientName="Other")
    assert key(PatientID="4711") != key(PatientID="4712")
    assert key(PatientID="4711") != key(PatientID="4711", IssuerOfPatientID="another house")
    assert key(PatientName="A^B", PatientBirthDate="19600101") != key(PatientName="A^B", PatientBirthDate="19600102")
    assert key(StudyInstanceUID="1.2.3") == key(StudyInstanceUID="1.2.3")
    assert key() is None
    assert len(key(PatientID="4711") or "") == 32
    assert Pseudonyms("another key of the same length, 32").patient("x") != KEY.patient("x")


def test_the_key_is_made_once_for_its_user_alone(settings: Settings) -> None:
    first = Pseudonyms.of(settings).patient("x")
    assert Pseudonyms.of(settings).patient("x") == first
    file = settings.home / FILE_NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    given = settings.with_changes(pseudonym_key="g" * 32)
    assert Pseudonyms.of(given).patient("x") != first
    assert "g" * 32 not in repr(given)
    with pytest.raises(ConfigurationError, match="less than 32 characters"):
        settings.with_changes(pseudonym_key="short").check()


def test_names_that_stand_for_files_keep_only_their_kind() -> None:
    assert KEY.file_name("QUILLFEATHER^ANNA.dcm") == KEY.file_name("QUILLFEATHER^ANNA.dcm")
    assert KEY.file_name("a.dcm").endswith(".dcm")
    assert PLANTED not in KEY.file_name("anna.quillfeather.QUILLFEATHER")
    assert KEY.file_name("x/a.dcm") != KEY.file_name("y/a.dcm")


class Door:
    """An inbox desk with everything behind it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.desk = Desk(settings, database)
        self.store = FolderStore.at(settings.store_url)

    def take(self, name: str, data: bytes) -> Any:
        from core.ingest import Incoming

        ingest = Ingest(self.desk.settings, self.desk.database, self.store, lambda _: None)
        (arrival,) = ingest.take(
            Submission(source=Source.API), [Incoming(name=name, data=data, size=len(data))]
        ).arrivals
        return arrival

    def row(self) -> RadiographRow:
        with self.desk.database.reading() as session:
            return session.scalars(select(RadiographRow)).one()


def test_the_same_file_again_is_the_same_radiograph_although_another_content_is_stored(
    settings: Settings, database: Database, model_id: int
) -> None:
    door = Door(settings, database)
    data = dicom(PatientID="4711", BodyPartExamined="HAND")
    first, again = door.take("a.dcm", data), door.take("b.dcm", data)
    assert (first.duplicate, again.duplicate) == (False, True)
    row = door.row()
    assert row.sha256 != row.stored_sha256
    assert row.storage_key.endswith(row.stored_sha256 or "")
    stored = door.store.get(row.storage_key)
    assert (len(stored), len(data)) == (row.stored_bytes, row.bytes)
    assert row.about is not None
    assert (row.about["body_part"], row.patient_key) == ("HAND", read(stored).PatientID)


def test_identifiers_are_kept_only_on_purpose_and_forgotten_when_that_ends(
    settings: Settings, database: Database, model_id: int
) -> None:
    data = dicom(PatientName=PLANTED, PatientID="4711")
    kept = Door(settings.with_changes(keep_identifiers=True), database)
    kept.take("QUILLFEATHER.dcm", data)
    row = kept.row()
    assert (row.name, row.stored_sha256) == ("QUILLFEATHER.dcm", None)
    assert kept.store.get(row.storage_key) == data
    key = row.patient_key
    door = Door(settings, database)
    assert door.take("QUILLFEATHER.dcm", data).duplicate
    row = door.row()
    assert PLANTED not in row.name
    assert PLANTED.encode() not in door.store.get(row.storage_key)
    assert row.patient_key == key
