from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import update
from werkzeug.test import TestResponse

from core.activation import packed
from core.storage import FolderStore
from core.tables import PredictionRow
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import Site


def encoded(levels: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, form)
    return stream.getvalue()


def take(site: Site, name: str, data: bytes) -> str:
    answer = site.upload((name, data))
    assert answer.status_code == 202, answer.text
    return str(answer.json["files"][0]["results"][0]["image"])


def pixels(answer: TestResponse) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "image/png"
    with Image.open(io.BytesIO(answer.data)) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


RAMP = np.tile(np.arange(256, dtype=np.uint8), (64, 1))


def test_an_eight_bit_picture_comes_out_as_it_went_in(site: Site) -> None:
    url = take(site, "ramp.png", encoded(RAMP))

    assert np.array_equal(pixels(site.client.get(url)), RAMP)


def test_a_sixteen_bit_tiff_becomes_an_eight_bit_png_with_its_range(site: Site) -> None:
    levels = np.tile(np.linspace(0, 4095, 256).astype(np.uint16), (64, 1))
    url = take(site, "twelve bits.tif", encoded(levels, "TIFF"))

    shown = pixels(site.client.get(url))

    assert (shown.min(), shown.max()) == (0, 255)
    assert 120 <= shown[0, 128] <= 136


@pytest.mark.parametrize("form", ["JPEG", "BMP", "TIFF", "WEBP"])
def test_every_format_is_shown(site: Site, form: str) -> None:
    url = take(site, "hand", draw_radiograph(1, form=form))

    assert pixels(site.client.get(url)).shape == (128, 96)


def test_a_size_bounds_the_longest_side_and_never_enlarges(site: Site) -> None:
    url = take(site, "ramp.png", encoded(RAMP))

    assert pixels(site.client.get(f"{url}?size=64")).shape == (16, 64)
    assert pixels(site.client.get(f"{url}?size=4000")).shape == (64, 256)


def test_a_window_stretches_the_levels_between_its_ends(site: Site) -> None:
    url = take(site, "ramp.png", encoded(RAMP))

    row = pixels(site.client.get(f"{url}?window=50,150"))[0]

    assert (row[50], row[150]) == (0, 255)
    assert row[100] in (127, 128)
    assert (row[:50].max(), row[151:].min()) == (0, 255)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("size=15", "size"),
        ("size=8193", "size"),
        ("size=big", "size"),
        ("size=-5", "size"),
        ("window=200,100", "window"),
        ("window=100,100", "window"),
        ("window=100", "window"),
        ("window=1,2,3", "window"),
        ("window=nan,nan", "window"),
        ("window=-1,300", "window"),
        ("widnow=1,2", "widnow"),
    ],
)
def test_a_bad_parameter_is_400_with_a_sentence_that_names_it(site: Site, query: str, named: str) -> None:
    url = take(site, "ramp.png", encoded(RAMP))

    answer = site.client.get(f"{url}?{query}")

    assert answer.status_code == 400
    assert named in answer.json["detail"]


def test_an_unchanged_picture_is_neither_sent_nor_read_again(site: Site) -> None:
    url = take(site, "ramp.png", encoded(RAMP))
    first = site.client.get(f"{url}?size=64")
    [original] = [path for path in FolderStore.at(site.settings.store_url).folder.glob("*/*") if path.is_file()]
    original.unlink()

    again = site.client.get(f"{url}?size=64", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status_code == 304
    assert again.data == b""
    assert "private" in first.headers["Cache-Control"]
    other = site.client.get(f"{url}?size=32", headers={"If-None-Match": first.headers["ETag"]})
    assert other.status_code == 503
    assert other.json["code"] == "store-unavailable"


def test_a_picture_that_is_cut_off_is_422_with_a_sentence(site: Site) -> None:
    whole = draw_radiograph(1, form="JPEG", width=400, height=400)
    url = take(site, "cut.jpg", whole[: len(whole) // 2])

    answer = site.client.get(url)

    assert answer.status_code == 422
    assert answer.json["code"] == "unreadable"


# Activation maps


@pytest.fixture
def mapped(site: Site) -> int:
    """A radiograph 96 pixels wide and 128 high, whose answer was spoken for by the lower half."""
    [number] = site.take_in(1)
    site.classify("spiral")
    with site.database.transaction() as session:
        half = np.array([[0.0, -1.0], [1.0, 0.5]])
        session.execute(update(PredictionRow).values(activation=packed(half)))
    return number


def test_an_activation_map_lies_over_the_picture(site: Site, mapped: int) -> None:
    [answer] = site.client.get(f"/api/v1/radiographs/{mapped}").json["models"]
    found = site.client.get(answer["activation"])
    assert (found.status_code, found.mimetype) == (200, "image/png")
    picture = Image.open(io.BytesIO(found.data))
    assert (picture.mode, picture.size) == ("RGBA", (96, 128))
    strength = np.asarray(picture)[..., 3].astype(int)
    assert strength[:30].mean() < 30 < 150 < strength[100:].mean()
    assert strength[100:, :20].mean() > strength[100:, -20:].mean()
    again = site.client.get(answer["activation"], headers={"If-None-Match": found.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_where_there_is_no_map_that_is_said(site: Site, mapped: int) -> None:
    [other] = site.take_in(2)
    site.classify("spiral")
    address = "/api/v1/radiographs/{}/activation.png?model={}"
    for number, model in ((other, "kind/1.0.0"), (mapped, "kind/9.9.9"), (99, "kind/1.0.0")):
        found = site.client.get(address.format(number, model))
        assert (found.status_code, found.mimetype) == (404, "application/problem+json")
    assert site.client.get(f"/api/v1/radiographs/{other}").json["models"][0]["activation"] is None
    missing = site.client.get(f"/api/v1/radiographs/{mapped}/activation.png")
    assert missing.status_code == 400
    assert "model" in missing.json["detail"]
