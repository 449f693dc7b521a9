"""Which object a result is about, in words that the reader of the result knows.

What is stored has other numbers than what came: nobody gets from one to the other without the key. So a result can
name the stored, de-identified object alone, unless whoever asks hands the original over and it proves to be the one.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from core.dicom import reading
from core.errors import ConfigurationError
from core.pseudonyms import Pseudonyms

#: Of patient and study, what joins a report to them in an archive.
_JOINING = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
#: These have to be there, if only empty.
_ALWAYS = frozenset(_JOINING) - {"IssuerOfPatientID"}


@dataclass(frozen=True)
class Reference:
    """The object that a result is about."""

    sop_class: str
    sop_instance: str
    study: str
    series: str
    joining: Dataset  # patient and study as the object itself names them
    is_original: bool  # the numbers are those of the object as it came

    @classmethod
    def of(cls, dataset: Dataset, pseudonyms: Pseudonyms, *, is_original: bool) -> Reference:
        """Read it from an object's header; a study or a series that it does not name gets a number of its own."""
        instance = _instance(dataset)
        joining = Dataset()
        for name in _JOINING:
            if name in _ALWAYS or name in dataset:
                setattr(joining, name, reading.text(dataset, name))
        return cls(
            sop_class=reading.text(dataset, "SOPClassUID") or str(dataset.file_meta.MediaStorageSOPClassUID),
            sop_instance=instance,
            study=reading.text(dataset, "StudyInstanceUID") or pseudonyms.uid(f"study of {instance}"),
            series=reading.text(dataset, "SeriesInstanceUID") or pseudonyms.uid(f"series of {instance}"),
            joining=joining,
            is_original=is_original,
        )

    def document(self) -> dict[str, object]:
        """Return it as JSON types."""
        return {
            "sop_class_uid": self.sop_class,
            "sop_instance_uid": self.sop_instance,
            "study_instance_uid": self.study,
            "series_instance_uid": self.series,
            "is_original": self.is_original,
        }


def stored_reference(stored: bytes, pseudonyms: Pseudonyms) -> Reference:
    """Name what is stored; with FRACTURE_KEEP_IDENTIFIERS that is what came.

    Raises:
        UnreadableImage: It is damaged.
    """
    dataset = reading.read(stored)
    removed = reading.words(dataset, "PatientIdentityRemoved") == "YES"
    return Reference.of(dataset, pseudonyms, is_original=not removed)


def original_reference(original: bytes, stored: bytes, pseudonyms: Pseudonyms) -> Reference:
    """Name the original that somebody hands over.

    Raises:
        UnreadableImage: One of both is damaged.
        ConfigurationError: It is another object than the stored one.
    """
    dataset, kept = reading.read(original), reading.read(stored)
    instance = reading.text(dataset, "SOPInstanceUID")
    if not instance or _instance(kept) not in (instance, pseudonyms.uid(instance)):
        raise ConfigurationError("The original that was given is another object than the one that came in.")
    return Reference.of(dataset, pseudonyms, is_original=True)


def _instance(dataset: Dataset) -> str:
    return reading.text(dataset, "SOPInstanceUID") or str(dataset.file_meta.MediaStorageSOPInstanceUID)
