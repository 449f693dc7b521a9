"""A result written back: a Structured Report or JSON, of an object that the reader can recognise."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner, Result
from pydicom.dataset import Dataset

from cli.commands.dicom_result import dicom_result
from core.dicom.report import BASIC_TEXT_SR
from core.errors import ConfigurationError, FractureError, NotAnswered, NotFound, OriginalDeleted
from core.ingest import Incoming, Ingest
from core.records.claims import Outcome, store_outcomes
from core.records.intake import Arrival, Submission
from core.settings import Settings
from core.storage import FolderStore
from core.tables import RadiographRow, Source
from tests.conftest import draw_radiograph
from tests.dicom_files import dicom, ramp
from tests.fakes import claim
from tests.planted import IDENTIFIERS, found_in, planted_files
from tests.unit.web_fixtures import Site


@pytest.fixture
def site(settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    site = Site(settings.with_changes(database_url=database_url))
    monkeypatch.setenv("FRACTURE_HOME", str(settings.home))
    monkeypatch.setenv("FRACTURE_DATABASE_URL", database_url)
    yield site
    site.database.dispose()


SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def take(site: Site, data: bytes) -> Arrival:
    ingest = Ingest(site.settings, site.database, FolderStore.at(site.settings.store_url), lambda _: None)
    (arrival,) = ingest.take(
        Submission(source=Source.DICOM), [Incoming(name="1.2.3.dcm", data=data, size=len(data))]
    ).arrivals
    return arrival


def ask(*arguments: str | int | Path) -> Result:
    return CliRunner().invoke(dicom_result, [str(argument) for argument in arguments])


def report(arrival: int, folder: Path, *arguments: str | Path) -> Dataset:
    file = folder / "report.dcm"
    done = ask(arrival, "--format", "sr", "--output", file, *arguments)
    assert done.exit_code == 0, done.exception
    return pydicom.dcmread(file)


def refusal(*arguments: str | int | Path) -> FractureError:
    error = ask(*arguments).exception
    assert isinstance(error, FractureError)
    return error


def texts(found: Dataset) -> list[str]:
    return [item.TextValue for item in found.ContentSequence if item.ValueType == "TEXT"]


PLANTED = planted_files()["QUILLFEATHER-Zebulonia-0.dcm"]


def test_a_report_says_what_was_answered_of_which_stored_object(site: Site, tmp_path: Path) -> None:
    arrival = take(site, PLANTED)
    site.classify(confidence=0.4)
    found = report(arrival.id, tmp_path)

    assert found.SOPClassUID == found.file_meta.MediaStorageSOPClassUID == BASIC_TEXT_SR
    assert (found.Modality, found.VerificationFlag, found.CompletionFlag) == ("SR", "UNVERIFIED", "COMPLETE")
    assert found.PreliminaryFlag == "PRELIMINARY"
    assert "not for diagnosis" in found.ConceptNameCodeSequence[0].CodeMeaning
    name, notice, answer = texts(found)
    assert name == "Fracture Queue"
    assert notice.startswith("Research and education only.")
    assert answer == "kind/1.0.0: spiral, probability 0.40. It is unsure which kind; a person should look."
    with site.database.reading() as session:
        radiograph = session.get_one(RadiographRow, arrival.radiograph_ids[0])
    stored = pydicom.dcmread(io.BytesIO(FolderStore.at(site.settings.store_url).get(radiograph.storage_key)))
    (image,) = [item for item in found.ContentSequence if item.ValueType == "IMAGE"]
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == stored.SOPInstanceUID
    assert image.ReferencedSOPSequence[0].ReferencedSOPClassUID == stored.SOPClassUID
    assert found.StudyInstanceUID == stored.StudyInstanceUID
    assert found.PatientID == radiograph.patient_key
    evidence = found.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == stored.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == (
        stored.SOPInstanceUID
    )
    if tool := shutil.which("dsrdump"):  # another program reads it too
        done = subprocess.run([tool, tmp_path / "report.dcm"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, "spiral" in done.stdout) == (0, True), done.stderr
    file = (tmp_path / "report.dcm").read_bytes()
    assert found_in(file) == set()
    assert report(arrival.id, tmp_path) == found  # asked again it is the same report
    assert (tmp_path / "report.dcm").read_bytes() == file


@SQLITE
def test_who_has_the_original_gets_its_numbers_and_its_patient(site: Site, tmp_path: Path) -> None:
    arrival = take(site, PLANTED)
    site.classify()
    original = tmp_path / "original.dcm"
    original.write_bytes(PLANTED)
    found = report(arrival.id, tmp_path, "--original", original)
    sent = pydicom.dcmread(original)

    for name in ("StudyInstanceUID", "PatientName", "PatientID", "PatientBirthDate", "AccessionNumber"):
        assert found[name].value == sent[name].value
    (image,) = [item for item in found.ContentSequence if item.ValueType == "IMAGE"]
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == sent.SOPInstanceUID
    document = json.loads(ask(arrival.id, "--original", original).output)
    assert document["object"]["sop_instance_uid"] == sent.SOPInstanceUID
    assert document["object"]["is_original"] is True

    original.write_bytes(dicom(SOPInstanceUID="1.2.3.4.99"))
    assert "another object" in str(refusal(arrival.id, "--original", original))


@SQLITE
def test_json_says_the_same_and_that_nobody_verified_it(site: Site) -> None:
    arrival = take(site, PLANTED)
    site.classify(label="greenstick")
    text = ask(arrival.id).output
    document = json.loads(text)

    assert (document["research_use_only"], document["verified"]) == (True, False)
    assert document["arrival"] == arrival.id
    assert [(each["model"], each["label"]) for each in document["results"]] == [("kind/1.0.0", "greenstick")]
    assert document["object"]["is_original"] is False
    assert found_in(text.encode()) == set()
    assert len(IDENTIFIERS) == 10


@SQLITE
def test_frames_are_told_apart_and_failures_told(site: Site, tmp_path: Path) -> None:
    arrival = take(site, dicom(np.stack([ramp(), ramp() // 2]), Modality="XA"))
    taken = claim(site.database, 1)
    assert taken is not None
    outcomes = [Outcome(job=job, failure=("unreadable", "It is damaged.")) for job in taken.jobs]
    with site.database.transaction() as session:
        store_outcomes(session, taken, outcomes, "w@test:1")
    answers = texts(report(arrival.id, tmp_path))[2:]
    assert answers == [f"Frame {frame}: kind/1.0.0 gave no answer: It is damaged." for frame in (1, 2)]


def test_what_has_no_result_says_why(site: Site, tmp_path: Path) -> None:
    waiting = take(site, PLANTED)
    assert isinstance(refusal(waiting.id), NotAnswered)
    refused = take(site, dicom(Modality="MR"))
    assert "was refused" in str(refusal(refused.id))
    plain = take(site, draw_radiograph(1))
    site.classify()
    assert "no DICOM object" in str(refusal(plain.id))
    assert isinstance(refusal(999), NotFound)
    assert ask(waiting.id, "--format", "sr").exit_code == 2
    missing = tmp_path / "missing" / "report.dcm"
    assert isinstance(refusal(waiting.id, "--output", missing), ConfigurationError)
    with site.database.transaction() as session:
        row = session.get_one(RadiographRow, waiting.radiograph_ids[0])
        row.original_deleted_at = row.received_at
    assert isinstance(refusal(waiting.id), OriginalDeleted)
