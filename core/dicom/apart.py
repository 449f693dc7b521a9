"""Decode JPEG-LS in a process of its own, which may be killed.

CharLS, which every free decoder of JPEG-LS is made of, goes round for ever on some damaged files (2.4.3, found by
tests/fuzz). A process costs a fifth of a second a picture; files of this kind are rare.
"""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UnreadableImage

#: Processor time; the largest accepted pictures take some seconds.
_MOST_SECONDS = 20
_CHILD = """
import io, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
import imagecodecs, numpy
found = io.BytesIO()
numpy.save(found, imagecodecs.jpegls_decode(sys.stdin.buffer.read()), allow_pickle=False)
sys.stdout.buffer.write(found.getbuffer())
"""


def decode_jpeg_ls(stream: bytes) -> NDArray[Any]:
    """Return a picture's levels, unsigned.

    Raises:
        UnreadableImage: It is damaged, or takes too long.
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and our own words
        [sys.executable, "-I", "-c", _CHILD, str(_MOST_SECONDS)], input=stream, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise UnreadableImage("The picture data of the DICOM file are damaged or cut off.")
    levels: NDArray[Any] = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    return levels
