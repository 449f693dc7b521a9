import io
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from core import grey, images
from core.errors import EmptyFile, ImageTooLarge, RejectedImage, UnreadableImage, UnsupportedFormat
from core.pictures import MAX_FRAMES, Frame, ImageFacts
from tests.conftest import PROJECT, draw_radiograph
from tests.fakes import black_png, saved, tiff

LIMIT = 1_000_000
#: Every level from 0 to 65535 in equal shares, dark to bright, 64 rows of 256.
RAMP = np.linspace(0, 65535, 64 * 256).reshape(64, 256).astype(np.uint16)


def decode(data: bytes, **options: Any) -> NDArray[np.uint8]:
    return images.decode(data, **{"max_pixels": LIMIT, **options})


def inspect(data: bytes) -> ImageFacts:
    return images.inspect(data, max_pixels=LIMIT)


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("WEBP", "image/webp"),
    ],
)
def test_every_accepted_format_is_described_and_decoded(form: str, media_type: str) -> None:
    data = draw_radiograph(3, width=90, height=120, form=form)
    assert inspect(data) == ImageFacts(media_type=media_type, frames=(Frame(90, 120, 8),))
    pixels, original = decode(data), decode(draw_radiograph(3, width=90, height=120))
    assert pixels.shape == (120, 90)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - original).mean() < 8  # JPEG and WebP lose a little


@pytest.mark.parametrize(
    ("what", "data", "depth"),
    [
        ("16-bit PNG", saved(Image.fromarray(RAMP), "PNG"), 16),
        ("16-bit TIFF, little-endian", tiff(RAMP.astype("<u2")), 16),
        ("16-bit TIFF, big-endian", tiff(RAMP.astype(">u2")), 16),
        ("signed 16-bit TIFF", tiff((RAMP.astype("<i4") - 32768).astype("<i2")), 32),
        ("32-bit TIFF", tiff(RAMP.astype("<i4")), 32),
        ("floating-point TIFF", tiff(RAMP.astype("<f4") / 65535), 32),
        ("12-bit levels in a 16-bit PNG", saved(Image.fromarray(RAMP >> 4), "PNG"), 16),
        ("12-bit levels in a 16-bit TIFF", tiff((RAMP >> 4).astype("<u2")), 16),
        ("levels that start high", tiff((RAMP // 4 + 40_000).astype("<u2")), 16),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_deep_pictures_keep_their_range(what: str, data: bytes, depth: int) -> None:
    assert inspect(data).frames[0].bit_depth == depth
    pixels = decode(data)
    assert (pixels[0, 0], pixels[-1, -1]) == (0, 255)
    assert (np.diff(pixels.ravel().astype(int)) >= 0).all()
    sixteenths = np.bincount(pixels.ravel() // 16, minlength=16) / pixels.size
    assert sixteenths == pytest.approx(np.full(16, 1 / 16), abs=0.01)


def test_one_hot_pixel_does_not_flatten_the_rest() -> None:
    levels = (RAMP >> 6).astype("<u2")
    levels[10, 10] = 65535
    pixels = decode(tiff(levels))
    assert len(np.unique(pixels)) > 200


def test_a_deep_picture_of_one_level_is_black() -> None:
    assert not decode(tiff(np.full((8, 8), 900, dtype="<u2"))).any()


def test_levels_that_are_no_numbers_do_not_spoil_the_rest() -> None:
    levels = (RAMP / 65535).astype("<f4")
    levels[0, :4] = (np.nan, np.inf, -np.inf, 0)
    levels.view("<u4")[0, 4] = 0x7F800001  # a NaN that signals
    assert len(np.unique(decode(tiff(levels)))) > 200


@pytest.mark.parametrize("levels", [(RAMP >> 8).astype("u1"), RAMP.astype("<u2"), (RAMP / 65535).astype("<f4")])
@pytest.mark.parametrize(("orientation", "dark"), [(1, (0, 0)), (3, (-1, -1))])
def test_a_tiff_whose_zero_is_white_is_inverted(levels: NDArray[Any], orientation: int, dark: tuple[int, int]) -> None:
    usual = decode(tiff(levels, orientation=orientation))
    inverted = decode(tiff(levels, white_is_zero=True, orientation=orientation))
    assert usual[dark] == 0
    assert inverted[dark] == 255
    assert (inverted == 255 - usual).all()


@pytest.mark.parametrize(
    ("mode", "form", "black", "white"),
    [
        ("1", "PNG", 0, 1),
        ("1", "TIFF", 0, 1),
        ("LA", "PNG", (0, 255), (255, 255)),
        ("RGB", "PNG", (0, 0, 0), (255, 255, 255)),
        ("RGBA", "PNG", (0, 0, 0, 255), (255, 255, 255, 255)),
        ("RGBA", "WEBP", (0, 0, 0, 255), (255, 255, 255, 255)),
        ("CMYK", "TIFF", (0, 0, 0, 255), (0, 0, 0, 0)),
        ("CMYK", "JPEG", (0, 0, 0, 255), (0, 0, 0, 0)),
        ("YCbCr", "TIFF", (0, 128, 128), (255, 128, 128)),
    ],
)
def test_every_colour_mode_becomes_grey(mode: str, form: str, black: Any, white: Any) -> None:
    picture = Image.new(mode, (32, 16), black)
    picture.paste(white, (16, 0, 32, 16))
    pixels = decode(saved(picture, form))
    assert pixels.shape == (16, 32)
    assert pixels[:, :14].max() <= 4
    assert pixels[:, 18:].min() >= 251


def test_a_palette_stands_for_its_colours_not_for_their_numbers() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.putdata([0, 1])
    assert decode(saved(picture, "PNG")).tolist() == [[255, 0]]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_is_black(mode: str) -> None:
    clear = (255, 0) if mode == "LA" else (255, 255, 255, 0)
    assert not decode(saved(Image.new(mode, (4, 4), clear), "PNG")).any()


@pytest.mark.parametrize(
    ("orientation", "bright"),
    [
        (1, (0, 0)),
        (2, (0, -1)),
        (3, (-1, -1)),
        (4, (-1, 0)),
        (5, (0, 0)),
        (6, (0, -1)),
        (7, (-1, -1)),
        (8, (-1, 0)),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_exif_orientation_is_applied(form: str, orientation: int, bright: tuple[int, int]) -> None:
    picture = Image.new("L", (64, 32))
    picture.paste(255, (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture, form, exif=exif)
    pixels = decode(data)
    assert pixels.shape == ((32, 64) if orientation < 5 else (64, 32))
    assert pixels[bright] > 200
    assert (pixels > 128).mean() == pytest.approx(1 / 8, abs=0.02)
    assert sorted((inspect(data).frames[0].width, inspect(data).frames[0].height)) == [32, 64]


def test_each_page_of_a_tiff_is_a_frame() -> None:
    pages = [Image.new("L", (10 + number, 20), 50 * number) for number in range(3)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [frame.width for frame in inspect(data).frames] == [10, 11, 12]
    for number in range(3):
        assert (decode(data, frame=number) == 50 * number).all()
    with pytest.raises(UnreadableImage, match="Page 4"):
        decode(data, frame=3)


def test_a_tiff_with_too_many_pages_is_refused() -> None:
    page = Image.new("L", (2, 2))
    data = saved(page, "TIFF", save_all=True, append_images=[page] * MAX_FRAMES)
    with pytest.raises(UnsupportedFormat, match=f"more than {MAX_FRAMES} pages"):
        inspect(data)


def test_one_page_that_is_too_large_refuses_the_file() -> None:
    pages = [Image.new("L", (10, 10)), Image.new("L", (2000, 2000))]
    with pytest.raises(ImageTooLarge, match="2000 x 2000"):
        inspect(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_deflate"))


@pytest.mark.parametrize("form", ["MPO", "PNG", "WEBP"])
def test_further_pictures_of_other_formats_do_not_count(form: str) -> None:
    first, second = Image.new("L", (16, 16), 200), Image.new("L", (16, 16), 20)
    data = saved(first, form, save_all=True, append_images=[second])
    facts = inspect(data)
    assert facts.media_type == {"MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}[form]
    assert len(facts.frames) == 1
    assert decode(data) == pytest.approx(200, abs=3)


def test_an_empty_file_is_called_empty() -> None:
    for read in (inspect, decode):
        with pytest.raises(EmptyFile):
            read(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"These are words in a file that is called image.jpg.\n",
        saved(Image.new("L", (4, 4)), "GIF"),
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0" * 1000,
        b"RIFF\x24\0\0\0WAVEfmt ",
    ],
)
def test_a_file_of_another_kind_is_unsupported_whatever_its_name_says(data: bytes) -> None:
    for read in (inspect, decode):
        with pytest.raises(UnsupportedFormat, match="not a JPEG, PNG, BMP, TIFF, WebP or DICOM"):
            read(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_a_file_that_is_cut_off_anywhere_is_unreadable(form: str) -> None:
    data = draw_radiograph(1, width=40, height=50, form=form)
    for length in (*range(12, len(data) - 40, max(1, len(data) // 60)), len(data) - 40):
        with pytest.raises(UnreadableImage):
            decode(data[:length])


def test_a_tiff_whose_list_of_pages_is_cut_off_is_unreadable_at_the_door() -> None:
    pages = [Image.new("L", (20, 20), 50 * number) for number in range(3)]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    found = set()
    for length in range(8, len(data)):
        try:
            inspect(data[:length])
        except RejectedImage as problem:
            found.add(type(problem))
    assert found == {UnreadableImage}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_damage_of_any_kind_is_the_files_fault_and_never_a_crash(form: str) -> None:
    rng = np.random.default_rng(7)
    data = np.frombuffer(draw_radiograph(2, width=40, height=50, form=form), dtype=np.uint8)
    for _ in range(150):
        damaged = data.copy()
        places = rng.integers(0, min(len(data), rng.choice([40, 400, len(data)])), size=rng.integers(1, 6))
        damaged[places] = rng.integers(0, 256, size=len(places))
        for read in (inspect, decode):
            try:
                read(damaged.tobytes())
            except RejectedImage as problem:
                assert str(problem).endswith(".")


@pytest.mark.parametrize("name", ["IMG0004134.jpg", "IMG0004145.jpg", "IMG0004285.jpg"])
def test_a_really_damaged_radiograph_is_unreadable(name: str, data_folder: Path) -> None:
    data = (data_folder / "fracture-binary" / "malformed" / name).read_bytes()
    with pytest.raises(UnreadableImage, match="damaged or cut off"):
        images.decode(data, max_pixels=64_000_000)


def test_a_picture_above_the_limit_is_refused_however_little_above() -> None:
    images.decode(black_png(100, 100), max_pixels=10_000)
    for width, height in ((100, 101), (199, 100), (201, 100)):
        for read in (images.inspect, images.decode):
            with pytest.raises(ImageTooLarge, match=f"{width} x {height} pixels"):
                read(black_png(width, height), max_pixels=10_000)


def test_a_decompression_bomb_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    # given: a well-formed PNG of some hundred kilobytes with 900 million pixels
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(black_png(30_000, 30_000))
    assert bomb.stat().st_size < 2_000_000
    # when: a process of its own looks at it, so that its peak memory is this one's alone
    program = f"""
import os, pathlib
from core import images
from core.errors import ImageTooLarge
from worker.notes import peak_memory_of  # not `getrusage`, whose peak counts on from the parent's
data = pathlib.Path({str(bomb)!r}).read_bytes()
images.decode(pathlib.Path({str(bomb)!r}).with_name("small.png").read_bytes(), max_pixels=64_000_000)
before = peak_memory_of(os.getpid())
for read in (images.inspect, images.decode):
    try:
        read(data, max_pixels=64_000_000)
    except ImageTooLarge:
        continue
    raise SystemExit("not refused")
print(peak_memory_of(os.getpid()) - before)
"""
    (tmp_path / "small.png").write_bytes(black_png(300, 300))
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    # then
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20 * 2**20  # decoded it would be 900 MB


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_in_colours_is_as_grey_as_if_its_colours_had_been_decoded(quality: int, subsampling: int) -> None:
    generator = np.random.default_rng(3)
    coarse = generator.integers(60, 180, (12, 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((320, 240)).save(stream, "JPEG", quality=quality, subsampling=subsampling)
    with Image.open(io.BytesIO(stream.getvalue())) as image:
        expected = np.asarray(image.convert("RGB").convert("L"), dtype=int)
    assert np.abs(decode(stream.getvalue()) - expected).max() <= 2


@pytest.mark.parametrize(
    ("enough", "expected"),
    [(None, (800, 1200)), (601, (800, 1200)), (600, (400, 600)), (299, (200, 300)), (9, (100, 150))],
)
def test_a_jpeg_is_decoded_no_larger_than_needed(enough: int | None, expected: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((1200, 800)).save(stream, "JPEG", quality=95)
    pixels = decode(stream.getvalue(), enough=enough)
    assert pixels.shape == expected
    whole = Image.fromarray(decode(stream.getvalue())).reduce(1200 // expected[1])
    assert np.abs(pixels - np.asarray(whole, dtype=int)).mean() < 1


def test_only_a_jpeg_is_decoded_smaller_and_a_turned_one_is_turned() -> None:
    picture = Image.linear_gradient("L").resize((1200, 800))
    plain, turned = io.BytesIO(), io.BytesIO()
    picture.save(plain, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(turned, "JPEG", exif=exif)
    assert decode(plain.getvalue(), enough=100).shape == (800, 1200)
    assert decode(turned.getvalue(), enough=600).shape == (600, 400)


def test_unsigned_levels_of_32_bits_keep_their_order_beyond_the_signed_ones() -> None:
    levels = np.linspace(0, 2**32 - 1, 64 * 256).reshape(64, 256).astype("<u4")
    pixels = decode(tiff(levels))
    assert (pixels[0, 0], pixels[-1, -1]) == (0, 255)
    assert (np.diff(pixels.ravel().astype(int)) >= 0).all()
    # and levels that lie close together far from zero are told apart, which 32-bit floating point could not
    assert len(np.unique(decode(tiff(levels // 2**24 + np.uint32(2**31))))) > 200


def test_damaged_exif_data_do_not_cost_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.linear_gradient("L"), "JPEG", exif=exif)
    at = data.index(b"Exif\0\0") + 6
    for damage in (b"\xff" * 8, b"II*\0\xff\xff\xff\x7f", b"XX*\0\x08\0\0\0"):
        damaged = data[:at] + damage + data[at + 8 :]
        assert (decode(damaged) == decode(saved(Image.linear_gradient("L"), "JPEG"))).all()


def test_a_large_deep_picture_is_stretched_strip_by_strip_as_if_it_were_small(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.random.default_rng(1).integers(500, 60_000, (200, 300)).astype("<u2")
    colours = np.random.default_rng(2).integers(0, 256, (200, 300, 4), dtype=np.uint8)
    for data in (tiff(levels, white_is_zero=True), tiff(levels.astype("<u4")), saved(Image.fromarray(colours), "PNG")):
        whole = decode(data)
        with monkeypatch.context() as patch:
            patch.setattr(grey, "STRIP_PIXELS", 7 * 300)
            assert (decode(data) == whole).all()
            patch.setattr(grey, "SAMPLED_PIXELS", 20_000)
            assert np.abs(decode(data) - whole.astype(int)).max() <= 2


def test_a_chain_of_very_many_pages_is_not_followed_to_its_end() -> None:
    first = tiff(np.zeros((4, 4), dtype="u1"))
    tags = first[8 + 16 : -4]
    pages = (tags + struct.pack("<I", len(first) + (number + 1) * (len(tags) + 4)) for number in range(20_000))
    data = first[:-4] + struct.pack("<I", len(first)) + b"".join(pages)
    began = time.process_time()
    with pytest.raises(UnsupportedFormat, match="more than 64 pages"):
        inspect(data)
    assert time.process_time() - began < 2


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = saved(Image.linear_gradient("L").convert("RGB"), "JPEG", progressive=True)
    decode(data)
    scans = data.index(b"\xff\xda")
    with pytest.raises(UnsupportedFormat, match="more than 256 scans"):
        inspect(data[:-2] + data[scans:-2] * 100 + data[-2:])


def test_a_webp_may_have_half_the_pixels_because_its_decoder_needs_twice_the_memory() -> None:
    data = saved(Image.new("L", (100, 100)), "WEBP")
    images.decode(data, max_pixels=20_000)
    with pytest.raises(ImageTooLarge, match=r"at most 0\.009999 million are accepted as WebP"):
        images.inspect(data, max_pixels=19_999)


def test_a_damaged_picture_leaves_no_word_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    data = saved(Image.linear_gradient("L").convert("1"), "TIFF", compression="group3")
    for at in range(20, len(data) - 20, 40):
        for damage in (b"\0" * 30, b"\xff" * 30):
            with suppress(RejectedImage):
                decode(data[:at] + damage + data[at + 30 :])
    assert capfd.readouterr().err == ""
