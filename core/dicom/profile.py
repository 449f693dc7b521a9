"""De-identify a DICOM file by the Basic Application Level Confidentiality Profile of PS3.15, annex E.

Which elements name a patient is the standard's table E.1-1, which dicom-anonymizer keeps up with the standard. What is
done to them is ours: that library draws numbers at random, so that the same file would become another one each time,
and leaves dates and numbers in place of the elements that the profile removes.

Stricter than the profile: private and unknown elements, overlays, and long texts, dates and names that the table does
not mention go too, as do comments within compressed pictures, the preamble and whatever lies behind the pixels.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from typing import Final

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.tag import BaseTag

from core.dicom import reading
from core.dicom.codecs import NATIVE
from core.dicom.comments import without_comments
from core.dicom.framing import OWN_CLASS, file_meta
from core.errors import UnreadableImage
from core.pseudonyms import Pseudonyms

#: The newest edition of the standard whose table the library has.
EDITION = "dicomfields_2026c"
REMOVED, EMPTIED, REPLACED, RENUMBERED = "removed", "emptied", "replaced", "renumbered"
#: Where the profile leaves a choice, the choice that keeps a file valid.
_ACTIONS: Final = {
    "X_TAGS": REMOVED,
    "X_Z_U_STAR_TAGS": REMOVED,
    "Z_TAGS": EMPTIED,
    "X_Z_TAGS": EMPTIED,
    "D_TAGS": REPLACED,
    "Z_D_TAGS": REPLACED,
    "X_D_TAGS": REPLACED,
    "X_Z_D_TAGS": REPLACED,
    "U_TAGS": RENUMBERED,
}
_DUMMIES = {
    **dict.fromkeys(("DA",), "19000101"),
    **dict.fromkeys(("TM",), "000000"),
    **dict.fromkeys(("DT",), "19000101000000"),
    **dict.fromkeys(("AS",), "000Y"),
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("FD", "FL", "SL", "SS", "UL", "US", "SV", "UV"), 0),
    **dict.fromkeys(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UT", "PN"), "REMOVED"),
}
#: Free text, names and moments go even where the table does not mention them.
_TELLING = ("AE", "DA", "DT", "LT", "PN", "ST", "TM", "UC", "UN", "UR", "UT")
#: Numbers of the standard itself, which say what a thing is and not which.
_STANDARD = "1.2.840.10008."
_OVERLAYS = range(0x6000, 0x6100)


@dataclass(frozen=True)
class Deidentified:
    """What is kept of a file."""

    data: bytes
    patient_key: str | None  # the same for each file of a patient; None: the file names none


def deidentified(data: bytes, pseudonyms: Pseudonyms) -> Deidentified:
    """De-identify a file; the same file gives the same bytes as long as the key stays.

    Raises:
        UnreadableImage: It is too damaged to be written again.
    """
    dataset = reading.read(data)
    patient = _patient_key(dataset, pseudonyms)
    try:
        _clean(dataset, pseudonyms)
        dataset.PatientID = dataset.PatientName = patient or ""
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "PS3.15 E.1 Basic Application Confidentiality Profile"
        dataset.DeidentificationMethodCodeSequence = [_profile_code()]
        dataset.LongitudinalTemporalInformationModified = "REMOVED"
        _trim_pixels(dataset)
        dataset.preamble = bytes(128)
        dataset.file_meta = _file_meta(dataset, pseudonyms, hashlib.sha256(data).hexdigest())
        stream = io.BytesIO()
        dcmwrite(stream, dataset, enforce_file_format=True)
    except MemoryError:
        raise
    except Exception:  # the writer finds what the reader has passed over; its words repeat what stands in the file
        raise UnreadableImage("The DICOM header is damaged: the file cannot be written without its names.") from None
    return Deidentified(stream.getvalue(), patient)


def patient_key_of(data: bytes, pseudonyms: Pseudonyms) -> str | None:
    """Return the hash that groups a patient's files.

    Raises:
        UnreadableImage: The header is damaged.
    """
    return _patient_key(reading.read(data), pseudonyms)


def _patient_key(dataset: Dataset, pseudonyms: Pseudonyms) -> str | None:
    """Return a hash of the patient's number, else of name and birth, else of the study's number."""
    issuer, number = reading.text(dataset, "IssuerOfPatientID"), reading.text(dataset, "PatientID")
    if number:
        return pseudonyms.patient(f"number\0{issuer}\0{number}")
    if name := reading.text(dataset, "PatientName"):
        return pseudonyms.patient(f"name\0{name}\0{reading.text(dataset, 'PatientBirthDate')}")
    study = reading.text(dataset, "StudyInstanceUID")
    return pseudonyms.patient(f"study\0{study}") if study else None


@cache
def actions() -> dict[int, str]:
    """Return the profile's action for each element's tag; those of a whole range of groups are left out."""
    table = dicom_anonymization_database_selector(EDITION)
    return {tag[0] << 16 | tag[1]: action for kind, action in _ACTIONS.items() for tag in table[kind] if len(tag) == 2}


def action_for(tag: BaseTag, vr: str | None) -> str | None:
    """Return what becomes of an element; None: it is kept, its own elements apart.

    Args:
        tag: Which.
        vr: Its value representation, None where the file does not say it.
    """
    # Groups 50xx are curves, which the profile removes as a whole.
    if tag.is_private or tag.group in _OVERLAYS or 0x5000 <= tag.group < 0x5100 or tag.group < 8:
        return REMOVED
    try:
        known = dictionary_VR(tag)
    except KeyError:
        return REMOVED
    action = actions().get(int(tag))
    if action is None:
        return REMOVED if (vr or known) in _TELLING or (tag.element == 0 and vr != "SQ") else None
    vr = vr or known
    if action == REPLACED and vr not in _DUMMIES:
        return REMOVED  # a sequence, or bytes: nothing stands for them
    return action


def _clean(dataset: Dataset, pseudonyms: Pseudonyms) -> None:
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        vr = raw.VR or _known_vr(tag)
        action = action_for(tag, raw.VR)
        if action == REMOVED or (vr == "SQ" and action is None and _is_huge(raw.value)):
            del dataset[tag]
        elif action == EMPTIED:
            dataset[tag] = DataElement(tag, vr, [] if vr == "SQ" else None)
        elif action == REPLACED:
            dataset[tag] = DataElement(tag, vr, _DUMMIES[vr])
        elif vr == "UI":
            _renumber(dataset, tag, pseudonyms)
        elif action == RENUMBERED:
            del dataset[tag]  # a number of things that is none
        elif vr == "SQ":
            for item in dataset[tag].value:
                _clean(item, pseudonyms)


def _known_vr(tag: BaseTag) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def _is_huge(value: object) -> bool:
    return isinstance(value, bytes) and len(value) > reading.MOST_SEQUENCE_BYTES


def _renumber(dataset: Dataset, tag: BaseTag, pseudonyms: Pseudonyms) -> None:
    """Replace numbers of things; those of the standard itself stay."""
    value = dataset[tag].value
    several = [value] if isinstance(value, str) else list(value or ())
    kept = [str(uid) if str(uid).startswith(_STANDARD) else pseudonyms.uid(str(uid)) for uid in several if uid]
    dataset[tag] = DataElement(tag, "UI", kept if len(kept) != 1 else kept[0])


def _profile_code() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    return code


def _trim_pixels(dataset: Dataset) -> None:
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    element = dataset["PixelData"]
    if syntax in NATIVE:
        size = reading.native_bytes(dataset)
        element.value = element.value[: size + size % 2]
    else:
        element.value = without_comments(syntax, element.value, reading.number(dataset, "NumberOfFrames", 1))


def _file_meta(dataset: Dataset, pseudonyms: Pseudonyms, digest: str) -> FileMetaDataset:
    """Make a new file header: the old one may name stations and programs."""
    known = dataset.file_meta.get("MediaStorageSOPClassUID", OWN_CLASS)
    return file_meta(
        syntax=dataset.file_meta.TransferSyntaxUID,
        sop_class=reading.text(dataset, "SOPClassUID") or known,
        sop_instance=reading.text(dataset, "SOPInstanceUID") or pseudonyms.uid(digest),
    )
