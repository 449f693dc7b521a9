"""What is no radiograph, or none that can be judged, gets its word; real radiographs do not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage

from benchmarks.apart import draw_apart, kinds
from benchmarks.plausibility import SETS, drawn, measure, real_files, shipped_classifier, spoilings, total
from core.doubts import KIND, WHETHER
from core.images import decode, decode_with_colours
from core.plausibility import WORDS, implausible, sentence_of
from core.preprocessing import read_model_input, read_radiograph
from tests.conftest import PROJECT, draw_radiograph
from tests.fakes import black_png, saved
from training.strangers import draw

#: Every so manieth test radiograph in `make test`; `make test-long` looks at all.
_EVERY = 12
_WRONGLY, _CAUGHT = 0.02, 0.9


def words_of(data: bytes) -> tuple[str, ...]:
    return implausible(decode_with_colours(data, max_pixels=10**8))


def png(levels: NDArray[np.uint8]) -> bytes:
    return saved(Image.fromarray(levels), "PNG")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_drawn_radiograph_has_no_word(mode: str) -> None:
    assert words_of(draw_radiograph(1, width=300, height=400, mode=mode)) == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (black_png(400, 300), ("blank",)),
        (png(np.full((300, 300), 255, np.uint8)), ("blank",)),
        (png(np.tile(np.linspace(0, 255, 400).astype(np.uint8), (300, 1))), ("blank",)),
        (png(np.tile(np.arange(40, dtype=np.uint8), (30, 1))), ("too-small",)),
        (draw_radiograph(1, width=900, height=90), ("extreme-aspect",)),
        (png(draw("text page", 1)), ("text",)),
        (png(draw("shapes", 2)), ("colour",)),
    ],
    ids=["black", "white", "a shade", "tiny", "a strip", "a text page", "coloured shapes"],
)
def test_each_kind_has_its_word(data: bytes, words: tuple[str, ...]) -> None:
    assert words_of(data) == words


@pytest.mark.parametrize("name", ["RG1_J2KI", "RG3_J2KI", "derived_RG3_320_mono1_u16", "derived_RG3_320_mono2_u16"])
def test_what_a_device_took_says_itself_what_is_bone(name: str, data_folder: Path) -> None:
    # A leg between the white edges that the lead leaves, and a chest without air around it.
    assert words_of((data_folder / "dicom" / f"{name}.dcm").read_bytes()) == ()


def test_a_secondary_capture_is_looked_at_like_a_png(data_folder: Path) -> None:
    dataset = pydicom.dcmread(data_folder / "dicom" / "derived_RG3_320_mono2_u16.dcm")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    stream = io.BytesIO()
    dataset.save_as(stream)
    assert words_of(stream.getvalue()) == ("inverted",)


def test_a_tinted_film_is_no_colour_photograph() -> None:
    grey = np.asarray(Image.open(io.BytesIO(draw_radiograph(1, width=300, height=400)))).astype(np.float32)
    blue = np.dstack([grey * 0.6, grey * 0.8, np.minimum(grey * 1.2, 255)]).astype(np.uint8)
    for form in ("PNG", "JPEG"):
        assert words_of(saved(Image.fromarray(blue), form)) == ()


def test_colours_are_seen_in_every_format() -> None:
    shapes = Image.fromarray(draw("shapes", 2))
    for picture, form in (
        *((shapes, form) for form in ("PNG", "JPEG", "BMP", "TIFF", "WEBP")),
        (shapes.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        (shapes.convert("RGBA"), "PNG"),
        (shapes.convert("CMYK"), "JPEG"),
    ):
        assert "colour" in words_of(saved(picture, form)), (picture.mode, form)


def test_looking_at_colours_changes_no_pixel() -> None:
    data = saved(Image.fromarray(draw("landscape", 3)).resize((900, 700)), "JPEG")
    looked_at = read_radiograph(data, side=224, channels=1, max_pixels=10**7)
    assert (looked_at.model_input == read_model_input(data, side=224, channels=1, max_pixels=10**7)).all()
    assert (decode_with_colours(data, max_pixels=10**7).pixels == decode(data, max_pixels=10**7)).all()


def test_people_read_a_sentence_and_only_where_there_is_reason() -> None:
    assert sentence_of(["doubtful", "unlike-radiographs"]) is None
    assert sentence_of(["colour", "doubtful"]) == "Not judged as a radiograph: a colour photograph or drawing"
    assert sentence_of(["inverted"]) == "Not judged: light and dark are exchanged"
    assert all(not words.endswith(".") for words in WORDS.values())


def test_the_page_of_uploads_says_the_same_words() -> None:
    script = (PROJECT / "web" / "static" / "row.js").read_text(encoding="utf-8")
    for word, reason in WORDS.items():
        assert f'{word if word.isidentifier() else chr(34) + word + chr(34)}: "{reason}",' in script
    for words in (WHETHER, KIND):
        assert f'"{words.capitalize()}."' in script


@pytest.mark.parametrize("name", SETS)
def test_few_real_radiographs_are_flagged(name: str, data_folder: Path) -> None:
    files = real_files(data_folder / name, _EVERY)
    words = [words_of(data) for data in files]
    # Of a part, as many as chance may bring of two in a hundred, those that are several on one plate apart.
    assert sum(bool(each) and each != ("several",) for each in words) <= 0.02 * len(files) + 2


def test_most_pictures_of_other_kinds_are_caught() -> None:
    classifier = shipped_classifier()
    rows = [measure(kind, drawn(kind, draw_apart, 2), classifier) for kind in kinds()]
    whole = total(rows)
    assert whole.caught >= _CAUGHT * whole.pictures, rows


@pytest.mark.parametrize("word", ["inverted", "clipped", "screenshot", "several"])
def test_spoilt_radiographs_get_their_word_mostly(word: str, data_folder: Path) -> None:
    files = [file for name in SETS for file in real_files(data_folder / name, 40)]
    for name, spoil in spoilings().items():
        if name.startswith(word) and "black" not in name:
            found = [words_of(spoil(file)) for file in files]
            assert sum(bool(words) for words in found) >= 0.6 * len(files), (name, found)


@pytest.mark.long
@pytest.mark.parametrize("name", SETS)
def test_at_most_two_of_a_hundred_test_radiographs_are_flagged(name: str, data_folder: Path) -> None:
    files = real_files(data_folder / name, 1)
    words = [words_of(data) for data in files]
    wrongly = sum(bool(each) and each != ("several",) for each in words)
    assert wrongly <= _WRONGLY * len(files), words
