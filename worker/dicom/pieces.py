"""What comes in pieces on an association, kept within bounds: pynetdicom keeps whatever it is sent in memory."""

from __future__ import annotations

import io
import threading
import time
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from core.ingest import BEGINNING

#: A request for an association names every kind of object and compression that its sender knows.
_MOST_REQUEST_BYTES = 2**18
#: What a sender may send above the size that it was told; some count their own header.
_SURPLUS = 1024
#: A command is a few short elements.
_MOST_COMMAND_BYTES = 2**16
_READ_AT_ONCE = 2**18


class TooLong(OSError):
    """A sender sends a piece longer than it may, or takes too long for one. An OSError ends the connection."""


class Bounded(io.BytesIO):
    """A data set while it comes: what is too much is counted and dropped, so that its sender can be answered."""

    def __init__(self, most_bytes: int, *, wanted: bool = True) -> None:
        super().__init__()
        self._most_bytes = most_bytes
        self.wanted = wanted  # else it began when this process was stopping already
        self.size = 0
        self.beginning = b""

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it was dropped."""
        return self.wanted and self.size <= self._most_bytes

    def write(self, data: Any, /) -> int:
        """Keep a piece, or count it."""
        self.size += len(data)
        if len(self.beginning) < BEGINNING:
            self.beginning += bytes(data[: BEGINNING - len(self.beginning)])
        if self.is_whole:
            return super().write(data)
        self.seek(0)
        self.truncate()
        return len(data)


class _BoundedCommand(io.BytesIO):
    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > _MOST_COMMAND_BYTES:
            raise TooLong
        return super().write(data)


class Messages(DIMSEServiceProvider):
    """The messages of one association, and what is known of it."""

    def __init__(self, association: Association, address: str, most_bytes: int, stopping: threading.Event) -> None:
        super().__init__(association)
        self.address, self.title = address, ""  # of its sender; the title is known once it asks
        self._most_bytes, self._stopping = most_bytes, stopping
        self._begun = self._answered = 0
        self.submission_id: int | None = None  # that what came on this association belongs to
        self.stored = self.refused = 0

    @property
    def busy(self) -> bool:
        """Whether a message comes in, or has no answer yet."""
        return self._begun > self._answered

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take a piece of a message; called by pynetdicom for each."""
        if self.message is None:
            self._begun += 1
            self.message = DIMSEMessage()
            self.message.encoded_command_set = _BoundedCommand()
            self.message.data_set = Bounded(self._most_bytes, wanted=not self._stopping.is_set())
        super().receive_primitive(primitive)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send an answer; called by pynetdicom."""
        super().send_msg(primitive, context_id)
        self._answered += 1


def messages_of(association: Association) -> Messages:
    """Return the messages of an association of ours."""
    messages = association.dimse
    if not isinstance(messages, Messages):
        raise TypeError("an association of another server")
    return messages


class ClosedSocket(AssociationSocket):
    """A connection that is closed in the end."""

    def _shutdown_socket(self) -> None:
        """Close it also where the other side has gone already: pynetdicom then leaves it open."""
        super()._shutdown_socket()
        if self.socket is not None:
            self.socket.close()


class BoundedSocket(ClosedSocket):
    """A connection whose pieces are no longer than was agreed, and come within a time."""

    def __init__(self, made: AssociationSocket, *, most_bytes: int, seconds: float) -> None:
        vars(self).update(vars(made))  # in its place; another one made would announce the connection twice
        self._most_bytes, self._seconds = max(most_bytes, _MOST_REQUEST_BYTES) + _SURPLUS, seconds

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes; fewer where the connection ended.

        Raises:
            TooLong: They are too many or come too slowly.
        """
        if nr_bytes > self._most_bytes:
            raise TooLong
        found = bytearray()
        until = time.monotonic() + self._seconds
        while len(found) < nr_bytes:
            if self.socket is None or (left := until - time.monotonic()) <= 0:
                raise TooLong
            self.socket.settimeout(left)
            piece = self.socket.recv(min(_READ_AT_ONCE, nr_bytes - len(found)))
            if not piece:
                self._end_before_request()
                break
            found += piece
        if self.socket is not None:
            self.socket.settimeout(self._seconds)  # for what is sent next
        return found

    def _end_before_request(self) -> None:
        """End an association whose sender went before it asked for one, as probes of the port do.

        pynetdicom goes on waiting for the request, and counts the association all the while; None ends the wait.
        """
        if self.assoc.requestor.primitive is None:
            self.assoc.dul.to_user_queue.put(None)
