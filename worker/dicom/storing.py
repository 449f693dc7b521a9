"""Answer C-STORE: success is said only of what is on the disk and committed."""

from __future__ import annotations

import logging
import sys
import textwrap
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from core.dicom.framing import as_file
from core.errors import ImageTooLarge, Unavailable, WrongModality
from core.ingest import Incoming, Ingest
from core.records.intake import Arrival, Submission
from core.settings import Settings
from core.tables import ArrivalStatus, Source
from worker.dicom.pieces import Bounded, Messages, messages_of
from worker.dicom.quiet import log_bug

log = logging.getLogger(__name__)

#: CR; DX and MG, each for presentation and for processing; RF, XA and their enhanced kinds; secondary captures.
SOP_CLASSES = (
    *("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1"),
    *("1.2.840.10008.5.1.4.1.1.1.2", "1.2.840.10008.5.1.4.1.1.1.2.1"),
    *("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.1.1"),
    *("1.2.840.10008.5.1.4.1.1.12.2", "1.2.840.10008.5.1.4.1.1.12.2.1"),
    *("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.1", "1.2.840.10008.5.1.4.1.1.7.2"),
    *("1.2.840.10008.5.1.4.1.1.7.3", "1.2.840.10008.5.1.4.1.1.7.4"),
)
#: PS3.7 annex C and PS3.4 B.2.3.
SUCCESS, BUG, WRONG_CLASS, NOT_AUTHORISED = 0x0000, 0x0110, 0x0122, 0x0124
OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0xA700, 0xC000
#: By the code of a refusal at the door; the others cannot be understood.
_STATUS = {WrongModality.code: WRONG_CLASS, ImageTooLarge.code: OUT_OF_RESOURCES}
_LONGEST_COMMENT = 64


class Refused(Exception):
    """An object is refused before the door looks at it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True)
class Storing:
    """Takes what C-STORE brings the way of every other file."""

    settings: Settings
    ingest: Ingest

    def __call__(self, event: evt.Event) -> Dataset:
        """Take one object and return the status of the answer; called by pynetdicom."""
        messages = messages_of(event.assoc)
        try:
            arrival = self._take(event, messages)
        except Refused as refused:
            status, words = refused.status, str(refused)
        except Unavailable as error:
            status, words = OUT_OF_RESOURCES, str(error)
        except MemoryError:
            status, words = OUT_OF_RESOURCES, "There is not enough memory for it at the moment."
        except Exception:
            kind, _, trace = sys.exc_info()
            log_bug("An object", kind or Exception, trace)
            status, words = BUG, "It could not be processed: a bug."
        else:
            messages.submission_id = arrival.submission_id
            if arrival.status is ArrivalStatus.ACCEPTED:
                messages.stored += 1
                return _answer(SUCCESS)
            status = _STATUS.get(arrival.error_code or "", CANNOT_UNDERSTAND)
            words = arrival.error_words or ""
        messages.refused += 1
        log.warning("Refused an object from %s with status 0x%04X: %s", messages.address, status, words)
        return _answer(status, words)

    def _take(self, event: evt.Event, messages: Messages) -> Arrival:
        """Store and record one object; when this returns, both have happened.

        Raises:
            Refused: It is not even recorded.
            Unavailable: It could not be stored or recorded.
        """
        if not self.settings.dicom_peers.allow(messages.title, messages.address):
            raise Refused(NOT_AUTHORISED, "Its sender may not send.")
        request: Any = event.request  # of which C-STORE alone has these fields
        if str(request.AffectedSOPClassUID) not in SOP_CLASSES:
            raise Refused(WRONG_CLASS, "Only CR, DX, RF, MG, XA and secondary captures are taken.")
        received = request.DataSet
        if not isinstance(received, Bounded) or not received.wanted:
            raise Refused(OUT_OF_RESOURCES, "The receiver is being stopped.")
        # Only a title that was written down here is known to be no patient's name.
        known = messages.title if self.settings.dicom_peers.names(messages.title) else ""
        submission = Submission(
            source=Source.DICOM,
            name=known,
            actor=f"dicom:{known}" if known else "dicom",
            continues=messages.submission_id,
        )
        return self.ingest.take(submission, [_incoming(request, received, event.context.transfer_syntax)]).arrivals[0]


def _incoming(request: Any, received: Bounded, syntax: str) -> Incoming:
    name = f"{request.AffectedSOPInstanceUID}.dcm"
    if not received.is_whole:
        return Incoming(name=name, data=None, size=received.size, private=True)
    data = as_file(
        received.getvalue(),
        syntax=str(syntax),
        sop_class=str(request.AffectedSOPClassUID),
        sop_instance=str(request.AffectedSOPInstanceUID),
    )
    return Incoming(name=name, data=data, size=len(data), private=True)


def _answer(status: int, words: str = "") -> Dataset:
    answer = Dataset()
    answer.Status = status
    if words:
        comment = words.encode("ascii", "replace").decode().replace("\\", "/")
        answer.ErrorComment = textwrap.shorten(comment, _LONGEST_COMMENT, placeholder=" ...")
    return answer
