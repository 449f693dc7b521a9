"""DICOM files that name a patient in every way that files come with, and a search for what was planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.uid import JPEGBaseline8Bit

from tests.dicom_files import compressed, dataset, dicom, ramp, written

#: Unlike anything that pixels, hashes or our own words hold by chance.
IDENTIFIERS = (
    *("QUILLFEATHER", "Zebulonia", "QX7731905", "19610203", "ACC55170912", "Saint Barnaby", "1.2.99.4711", "Doctorow"),
    *("Thistledown Lane", "+999 5550142"),
)
FOLDER = "QUILLFEATHER_Zebulonia QX7731905"


def _tags(number: int) -> dict[str, Any]:
    return {
        "PatientName": "QUILLFEATHER^Zebulonia",
        "PatientID": "QX7731905",
        "PatientBirthDate": "19610203",
        "PatientAddress": "Thistledown Lane 7",
        "PatientTelephoneNumbers": "+999 5550142",
        "AccessionNumber": "ACC55170912",
        "InstitutionName": "Saint Barnaby",
        "ReferringPhysicianName": "Doctorow^Elias",
        "StudyInstanceUID": "1.2.99.4711.1",
        "SOPInstanceUID": f"1.2.99.4711.2.{number}",
        "StudyDescription": f"Wrist of QUILLFEATHER {number}",
        "ImageComments": "Zebulonia fell on Thistledown Lane",
        "DeviceSerialNumber": "QX7731905",
    }


def planted_files() -> dict[str, bytes]:
    """Return 20 files by name: most of them sound, others damaged, of another modality or without a picture."""
    files: dict[str, bytes] = {}
    for number in range(14):
        files[f"QUILLFEATHER-Zebulonia-{number}.dcm"] = dicom(ramp(bits=12) // (number + 1), **_tags(number))
    files["1.2.99.4711.2.14"] = dicom(ramp() // 20, **_tags(14))  # as archives name them
    files["QX7731905.dcm"] = compressed(ramp(bits=8), JPEGBaseline8Bit, bits=8, **_tags(15))
    files["QUILLFEATHER magnetic.dcm"] = dicom(**_tags(16) | {"Modality": "MR"})
    files["QUILLFEATHER cut off.dcm"] = dicom(**_tags(17))[:-900]
    files["QUILLFEATHER bare.dcm"] = dicom(**_tags(18))[330:]
    empty = dataset(**_tags(19))
    del empty.PixelData
    files["QUILLFEATHER without a picture"] = written(empty)
    return files


def found_in(*contents: bytes) -> set[str]:
    """Return which identifiers stand in any of these, in whichever case and coding."""
    whole = b"\n".join(contents).lower()
    return {
        identifier
        for identifier in IDENTIFIERS
        if any(identifier.lower().encode(coding) in whole for coding in ("utf-8", "utf-16-le", "utf-16-be"))
    }


def files_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
