"""Write what was answered as a DICOM Structured Report (Basic Text SR, PS3.3 A.35.1), unverified.

Its title is a code of our own: the standard's titles say that a report is diagnostic, and this one never is.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from core.dicom.framing import file_meta
from core.dicom.reading import hush
from core.dicom.reference import Reference
from core.pseudonyms import Pseudonyms

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
NOTICE = (
    "Research and education only. Not a medical device; never for diagnosis. Made by a program; verified by nobody."
)
_TITLE = ("RESEARCH", "99FRACTUREQUEUE", "Research result, not for diagnosis")
_FINDING, _COMMENT = ("121071", "DCM", "Finding"), ("121106", "DCM", "Comment")
_OBSERVER_TYPE, _DEVICE = ("121005", "DCM", "Observer Type"), ("121007", "DCM", "Device")
_OBSERVER_UID = ("121012", "DCM", "Device Observer UID")
_OBSERVER_NAME = ("121013", "DCM", "Device Observer Name")
_NAME = "Fracture Queue"


def write_report(about: Reference, findings: Sequence[str], at: datetime, pseudonyms: Pseudonyms) -> bytes:
    """Return a report as a file; the same findings at the same time are the same report, with the same number.

    Args:
        about: The object.
        findings: What was answered, a sentence for each model and frame.
        at: When the last answer was given.
        pseudonyms: Makes the report's numbers.
    """
    hush()
    words = "\0".join([about.sop_instance, at.isoformat(), *findings])
    report = Dataset()
    report.SpecificCharacterSet = "ISO_IR 192"
    report.SOPClassUID, report.SOPInstanceUID = BASIC_TEXT_SR, pseudonyms.uid(f"report\0{words}")
    report.update(about.joining)
    report.StudyInstanceUID = about.study
    report.Modality, report.Manufacturer = "SR", _NAME
    report.SeriesInstanceUID = pseudonyms.uid(f"reports of {about.study}")
    report.SeriesNumber, report.InstanceNumber = 1, 1
    report.SeriesDescription = _TITLE[2]
    report.ReferencedPerformedProcedureStepSequence, report.PerformedProcedureCodeSequence = [], []
    local = at.astimezone()  # as DICOM means times without a zone
    report.ContentDate, report.ContentTime = f"{local:%Y%m%d}", f"{local:%H%M%S}"
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.PreliminaryFlag = "PRELIMINARY"
    report.CurrentRequestedProcedureEvidenceSequence = [_evidence(about)]
    report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
    report.ConceptNameCodeSequence = [_code(_TITLE)]
    report.ContentSequence = _content(about, findings, pseudonyms)
    report.file_meta = file_meta(
        syntax=ExplicitVRLittleEndian, sop_class=BASIC_TEXT_SR, sop_instance=report.SOPInstanceUID
    )
    stream = io.BytesIO()
    dcmwrite(stream, report, enforce_file_format=True)
    return stream.getvalue()


def _content(about: Reference, findings: Sequence[str], pseudonyms: Pseudonyms) -> list[Dataset]:
    kind = _item("HAS OBS CONTEXT", "CODE", _OBSERVER_TYPE)
    kind.ConceptCodeSequence = [_code(_DEVICE)]
    number = _item("HAS OBS CONTEXT", "UIDREF", _OBSERVER_UID)
    number.UID = pseudonyms.uid("this installation")
    image = _item("CONTAINS", "IMAGE")
    image.ReferencedSOPSequence = [_object(about)]
    said = [_text("CONTAINS", _FINDING, finding) for finding in findings]
    name = _text("HAS OBS CONTEXT", _OBSERVER_NAME, _NAME)
    return [kind, number, name, _text("CONTAINS", _COMMENT, NOTICE), image, *said]


def _item(relation: str, kind: str, concept: tuple[str, str, str] | None = None) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relation, kind
    if concept is not None:
        item.ConceptNameCodeSequence = [_code(concept)]
    return item


def _text(relation: str, concept: tuple[str, str, str], words: str) -> Dataset:
    item = _item(relation, "TEXT", concept)
    item.TextValue = words
    return item


def _code(concept: tuple[str, str, str]) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = concept
    return code


def _object(about: Reference) -> Dataset:
    found = Dataset()
    found.ReferencedSOPClassUID, found.ReferencedSOPInstanceUID = about.sop_class, about.sop_instance
    return found


def _evidence(about: Reference) -> Dataset:
    study, series = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = about.series, [_object(about)]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = about.study, [series]
    return study
