"""Keep what a sender says out of the log: libraries repeat it, and any text in DICOM may be a patient's name."""

from __future__ import annotations

import logging
import threading
import traceback
import warnings
from types import TracebackType

from pynetdicom import _config

from core.dicom.reading import hush

log = logging.getLogger(__name__)


def silence() -> None:
    """Let pydicom and pynetdicom say nothing; what matters is logged by us, without what came."""
    hush()
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", category=Warning, module=r"pydicom|pynetdicom")


def report_threads() -> None:
    """Let threads that end by a bug say so without the exception's words."""
    threading.excepthook = lambda seen: log_bug("A thread", seen.exc_type, seen.exc_traceback)


def log_bug(what: str, kind: type[BaseException], trace: TracebackType | None) -> None:
    """Log a bug: its kind and where it was, not its words, which may repeat what came."""
    where = "".join(traceback.format_tb(trace))
    log.error("%s of the receiver ended by a bug (%s).\n%s", what, kind.__name__, where)
