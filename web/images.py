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
from core.activation import over_picture, unpacked
from core.errors import NotFound
from core.records.details import answers_of, facts_with_original
from web.openapi import PREFIX, Blueprint
from web.parameters import ActivationParameters, PictureParameters
from web.parts import parts

blueprint = Blueprint("images", __name__, url_prefix=PREFIX)

#: Changes when the same original would give another picture, so that browsers ask anew.
_DRAWN_AS = "1"
#: Decoding is pure processor time and, for the largest pictures, up to 0.7 GB each; more at once only costs memory.
#: Longest side of an activation map in pixels; it has no detail that would need more. And its colour, an orange.
_MAP_SIDE = 512
_MAP_COLOUR = (255, 140, 0)
_DECODERS = threading.BoundedSemaphore(2)


@blueprint.get("/radiographs/<id:radiograph_id>/image.png", tags=["Radiographs"])
@blueprint.arguments(PictureParameters, location="query")
@blueprint.response(200, {"type": "string", "contentMediaType": "image/png"}, content_type="image/png")
def get_image(asked: dict[str, Any], radiograph_id: int) -> Response:
    """Return a radiograph as 8-bit grey PNG, whatever came in.

    410 where the original was deleted, 422 where the picture is damaged, 503 where the original cannot be read.
    """
    size, window = asked.get("size"), asked.get("window")
    with parts().database.reading() as session:
        row = facts_with_original(session, radiograph_id)
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


@blueprint.get("/radiographs/<id:radiograph_id>/activation.png", tags=["Radiographs"])
@blueprint.arguments(ActivationParameters, location="query")
@blueprint.response(200, {"type": "string", "contentMediaType": "image/png"}, content_type="image/png")
def get_activation(asked: dict[str, Any], radiograph_id: int) -> Response:
    """Return what in the picture spoke for a model's answer, as a transparent PNG to lay over it.

    A coarse map that says where the network looked, not where a fracture is. 404 where there is none: an imported
    network may give no map, and older answers have none. 410 where the original was deleted.
    """
    with parts().database.reading() as session:
        row = facts_with_original(session, radiograph_id)
        found = [
            answer
            for answer in answers_of(session, radiograph_id)
            if answer.prediction is not None and answer.model == asked["model"]
        ]
    packed = found[0].prediction.activation if found and found[0].prediction else None
    if packed is None:
        raise NotFound(f"There is no activation map of {asked['model']} for radiograph {radiograph_id}.")
    with _DECODERS:
        data = parts().store.get(row.storage_key)
        pixels = images.decode(data, max_pixels=parts().settings.max_pixels, frame=row.frame, enough=_MAP_SIDE)
    height, width = pixels.shape
    scale = min(1.0, _MAP_SIDE / max(height, width))
    laid = over_picture(unpacked(packed), height=max(1, round(height * scale)), width=max(1, round(width * scale)))
    answer = Response(_coloured(laid), mimetype="image/png")
    answer.add_etag()
    answer.make_conditional(request)
    return answer


def _coloured(laid: NDArray[np.uint8]) -> bytes:
    """Colour a (height, width) map: the stronger, the less transparent."""
    picture = np.empty((*laid.shape, 4), dtype=np.uint8)
    picture[..., :3] = _MAP_COLOUR
    picture[..., 3] = laid
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=6)
    return stream.getvalue()


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
