"""Keep what Pillow and libtiff remark on damaged files off standard error; what matters ends as an error of ours.

libtiff writes a line for each damaged row: a fax-compressed TIFF of 20 MB wrote 8 million lines, over 300 MB, into the
worker's log (measured with Pillow 13.0 and libtiff 4.7.2).
"""

from __future__ import annotations

import ctypes
import logging
import re
import warnings
from contextlib import suppress
from functools import cache

from PIL import _imaging

_FILTER = ("ignore", None, UserWarning, re.compile(r"PIL\."), 0)


def hush() -> None:
    """Do it; cheap enough to be called for every file.

    Not done once at import, because warning filters are the process's and whoever sets others, a test say, undoes ours;
    not around each decoding, because several threads decode.
    """
    if _FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    _hush_for_good()


@cache
def _hush_for_good() -> None:
    logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
    # Pillow offers no way to say it. Where its libtiff cannot be reached, the lines are written as before.
    with suppress(OSError, AttributeError):
        libraries = ctypes.CDLL(_imaging.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(libraries, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
