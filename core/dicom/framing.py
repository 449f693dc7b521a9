"""Make a file of a data set that came over the network, always the same bytes of the same data set.

A file's hash tells whether it was here before; a library's header would name that library's version.
"""

from __future__ import annotations

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from core.dicom.reading import hush

OWN_CLASS, OWN_VERSION = "2.25.305828488182831875890203105390285383139", "FRACTURE-QUEUE"


def file_meta(*, syntax: str, sop_class: str, sop_instance: str) -> FileMetaDataset:
    """Make a file header that names no station and no program but this one, in no version."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(sop_instance)
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(OWN_CLASS), OWN_VERSION
    return meta


def as_file(encoded: bytes, *, syntax: str, sop_class: str, sop_instance: str) -> bytes:
    """Put a file header before an encoded data set."""
    hush()
    stream = DicomBytesIO()
    stream.write(bytes(128) + b"DICM")
    meta = file_meta(syntax=syntax, sop_class=sop_class, sop_instance=sop_instance)
    write_file_meta_info(stream, meta, enforce_standard=True)
    return stream.getvalue() + encoded
