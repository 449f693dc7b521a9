"""The listening part: who may connect, how many at once, TLS, and an orderly end.

pynetdicom speaks DICOM. What it leaves open is bounded here: it accepts from everywhere, greets a TLS client within
the loop that accepts (so that one silent client keeps out all others), and ends without finishing what is on its way.
"""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from socketserver import BaseServer
from typing import Any, cast

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from core.dicom.codecs import NATIVE, SYNTAXES
from core.dicom.peers import is_loopback
from core.errors import ConfigurationError
from core.settings import Settings
from worker.dicom.pieces import BoundedSocket, Messages, messages_of
from worker.dicom.quiet import log_bug
from worker.dicom.storing import SOP_CLASSES

log = logging.getLogger(__name__)

#: A client that was accepted has so long to ask for an association, a TLS handshake included.
_GREETING_SECONDS = 15.0
#: An association on which nothing happens is ended; so is one whose piece takes longer than this.
_SILENT_SECONDS = 60.0
#: Connections beyond the associations: those that are being refused, so that they are told why.
_SPARE_CONNECTIONS = 8
_ACCEPT_SECONDS = 0.5
#: PS3.8 9.3.4: refused for good, by the user of the service.
_REJECTED, _BY_USER, _CALLING_TITLE, _CALLED_TITLE = 1, 1, 3, 7


class Door(ThreadedAssociationServer):
    """Accepts connections and makes associations of them."""

    daemon_threads, block_on_close = True, False
    request_queue_size = 64

    def __init__(
        self,
        entity: AE,
        address: Any,
        ae_title: str,
        contexts: Any,
        ssl_context: None = None,  # pynetdicom's; `tls` is ours
        *,
        evt_handlers: list[evt.EventHandlerType],
        settings: Settings,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.settings, self._tls = settings, tls
        self.stopping = threading.Event()
        self.turned_at = time.monotonic()  # when the loop that accepts last turned
        self._greeting: set[int] = set()  # connections that are not associations yet
        super().__init__(entity, address, ae_title, contexts, ssl_context, evt_handlers, _Connection)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection is gone on with; others are closed without a word."""
        if not self.settings.dicom_peers.reach(client_address[0]):
            log.warning("Refused a connection from %s: FRACTURE_DICOM_PEERS has no such address.", client_address[0])
            return False
        connections = len(self.active_associations) + len(self._greeting)
        if connections >= self.settings.dicom_associations + _SPARE_CONNECTIONS:
            log.warning("Refused a connection from %s: too many at once.", client_address[0])
            return False
        self._greeting.add(request.fileno())
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Begin an association; in a thread of its own."""
        number = request.fileno()
        try:
            if self._tls is not None:
                request.settimeout(_GREETING_SECONDS)
                request = self._tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        finally:
            self._greeting.discard(number)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """Tell of a connection that became nothing."""
        kind, error, trace = sys.exc_info()
        if isinstance(error, OSError):  # TLS's errors are
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            log.warning("A connection from %s failed: %s.", client_address[0], reason)
        elif kind is not None:
            log_bug("A connection", kind, trace)

    def service_actions(self) -> None:
        """Note that the loop turns; called by it."""
        super().service_actions()
        self.turned_at = time.monotonic()

    def serve(self) -> None:
        """Accept until `close`."""
        self.serve_forever(poll_interval=_ACCEPT_SECONDS)

    def close(self, *, within_seconds: float) -> bool:
        """Accept nothing more, let what is being received be finished, end all associations.

        Returns:
            Whether everything was finished in time.
        """
        self.stopping.set()
        BaseServer.shutdown(self)  # pynetdicom's own forgets a server that `AE.start_server` made
        self.server_close()
        until = time.monotonic() + within_seconds
        while associations := [each for each in self.active_associations if each.is_established]:
            late = time.monotonic() > until
            for association in associations:
                if late or not messages_of(association).busy:
                    association.abort()
            if late:
                return False
            time.sleep(0.05)
        return True


class _Connection(RequestHandler):
    server: Door

    def _create_association(self) -> Association:
        association = super()._create_association()
        settings = self.server.settings
        association.dul.daemon = True  # none of them keeps a process alive that was told to end
        if (made := association.dul.socket) is not None:
            association.dul.socket = BoundedSocket(made, most_bytes=settings.dicom_pdu_bytes, seconds=_SILENT_SECONDS)
        address = str(self.client_address[0])
        association.dimse = Messages(association, address, settings.max_file_bytes, self.server.stopping)
        return association


def open_door(settings: Settings, store: Callable[[evt.Event], Dataset]) -> Door:
    """Bind the address; nothing is accepted yet.

    Args:
        settings: Who may send, where, and how much.
        store: Answers C-STORE.

    Raises:
        ConfigurationError: The address or a file of TLS cannot be used, or nobody could send.
    """
    _refuse_door_for_nobody(settings)
    entity = AE(settings.dicom_ae_title)
    entity.maximum_associations = settings.dicom_associations
    entity.maximum_pdu_size = settings.dicom_pdu_bytes
    entity.acse_timeout = entity.dimse_timeout = _GREETING_SECONDS
    entity.network_timeout = _SILENT_SECONDS
    entity.add_supported_context(Verification, list(NATIVE))
    for sop_class in SOP_CLASSES:
        entity.add_supported_context(sop_class, list(SYNTAXES))
    handlers: list[evt.EventHandlerType] = [
        (evt.EVT_REQUESTED, _look_at_request, [settings]),
        (evt.EVT_REJECTED, _tell_of_limit),
        (evt.EVT_C_STORE, store),
        (evt.EVT_RELEASED, _tell_of_end),
        (evt.EVT_ABORTED, _tell_of_end),
    ]
    try:
        address: Any = socket.getaddrinfo(settings.dicom_host, settings.dicom_port, type=socket.SOCK_STREAM)[0][4]
        options: dict[str, Any] = {"evt_handlers": handlers, "settings": settings, "tls": _tls(settings)}
        return cast(Door, entity.make_server(address, server_class=Door, **options))
    except OSError as error:
        place = f"FRACTURE_DICOM_HOST={settings.dicom_host!r}, FRACTURE_DICOM_PORT={settings.dicom_port}"
        raise ConfigurationError(f"{place} cannot be used: {error.strerror}.") from error


def _refuse_door_for_nobody(settings: Settings) -> None:
    """Say so where the address promises what the list of peers forbids."""
    if settings.dicom_peers.loopback_only and not is_loopback(settings.dicom_host):
        raise ConfigurationError(
            f"FRACTURE_DICOM_HOST={settings.dicom_host!r} is for other machines, and FRACTURE_DICOM_PEERS allows none "
            "of them: name who may send, as AETITLE@ADDRESS."
        )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.dicom_tls_certificate == Path():
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key that wants a passphrase would ask for it on a terminal that is not there.
        context.load_cert_chain(settings.dicom_tls_certificate, settings.dicom_tls_key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "FRACTURE_DICOM_TLS_CERTIFICATE and FRACTURE_DICOM_TLS_KEY cannot be used: they have to be files in PEM "
            f"that belong together, the key without a passphrase ({_reason(error)})."
        ) from error
    if settings.dicom_tls_clients != Path():
        try:
            context.load_verify_locations(settings.dicom_tls_clients)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"FRACTURE_DICOM_TLS_CLIENTS cannot be used ({_reason(error)}).") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__)


def _look_at_request(event: evt.Event, settings: Settings) -> None:
    """Refuse an association that is not for us, or whose sender may not send."""
    request, messages = event.assoc.requestor.primitive, messages_of(event.assoc)
    if not isinstance(request, A_ASSOCIATE):
        return  # not even a request: pynetdicom ends it
    messages.title = str(request.calling_ae_title)
    if not settings.dicom_peers.allow(messages.title, messages.address):
        # Not the title: unless it was written down here, it may be anything.
        log.warning("Refused an association from %s: FRACTURE_DICOM_PEERS has no such AE title.", messages.address)
        event.assoc.acse.send_reject(_REJECTED, _BY_USER, _CALLING_TITLE)
        event.assoc.kill()
    elif request.called_ae_title != settings.dicom_ae_title:
        log.warning("Refused an association from %s: it called another AE title than ours.", messages.address)
        event.assoc.acse.send_reject(_REJECTED, _BY_USER, _CALLED_TITLE)
        event.assoc.kill()


def _tell_of_limit(event: evt.Event) -> None:
    address = messages_of(event.assoc).address
    log.warning("Refused an association from %s: as many as FRACTURE_DICOM_ASSOCIATIONS are open.", address)


def _tell_of_end(event: evt.Event) -> None:
    messages = messages_of(event.assoc)
    if messages.stored or messages.refused:
        log.info(
            "An association from %s ended: %d objects stored, %d refused; submission %s.",
            *(messages.address, messages.stored, messages.refused, messages.submission_id or "none"),
        )
