"""Radiographs as pictures that every browser shows: 8-bit grey PNG, whatever came in."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
from flask import Response, request
from numpy.typing import NDArray
from PIL import Image

from core import images
from core.records.details import radiograph_facts
from web.openapi import PREFIX, Blueprint
from web.parameters import PictureParameters
from web.parts import parts

blueprint = Blueprint("images", __name__, url_prefix=PREFIX)

#: Changes when the same original would give another picture, so that browsers ask anew.
_DRAWN_AS = "1"
#: Decoding is pure processor time and, for the largest pictures, up to 0.7 GB each; more at once only costs memory.
_DECODERS = threading.BoundedSemaphore(2)


@blueprint.get("/radiographs/<id:radiograph_id>/image.png", tags=["Radiographs"])
@blueprint.arguments(PictureParameters, location="query")
@blueprint.response(200, {"type": "string", "contentMediaType": "image/png"}, content_type="image/png")
def get_image(asked: dict[str, Any], radiograph_id: int) -> Response:
    """Return a radiograph as 8-bit grey PNG, whatever came in.

    422 where the picture is damaged, 503 where the original cannot be read.
    """
    size, window = asked.get("size"), asked.get("window")
    with parts().database.reading() as session:
        row = radiograph_facts(session, radiograph_id)
    answer, tag = (
        Response(mimetype="image/png"),
        f"{row.sha256}-{row.frame}-{size}-{window}-{_DRAWN_AS}".replace(" ", ""),
    )
    answer.set_etag(tag)
    # The tag says all, so an unchanged picture is not even decoded.
    if tag not in request.if_none_match:
        with _DECODERS:
            data = parts().store.get(row.storage_key)
            pixels = images.decode(data, max_pixels=parts().settings.max_pixels, frame=row.frame)
            answer.data = _png(_windowed(pixels, window), size)
    answer.make_conditional(request)
    return answer


def _windowed(pixels: NDArray[np.uint8], window: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Stretch the levels between the window's ends to 0-255; (height, width) uint8 in and out."""
    if window is None:
        return pixels
    low, high = window
    levels = np.clip((np.arange(256) - low) * (255.0 / (high - low)), 0, 255)
    stretched: NDArray[np.uint8] = np.rint(levels).astype(np.uint8)[pixels]
    return stretched


def _png(pixels: NDArray[np.uint8], size: int | None) -> bytes:
    picture = Image.fromarray(pixels)
    if size is not None and max(picture.size) > size:
        picture.thumbnail((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    stream = io.BytesIO()
    # Fast and a little larger: the reader is near, and a list asks for fifty of them.
    picture.save(stream, format="PNG", compress_level=1)
    return stream.getvalue()
