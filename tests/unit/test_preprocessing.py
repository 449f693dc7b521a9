import numpy as np
import pytest

from core.errors import UnreadableImage
from core.preprocessing import to_model_input
from tests.conftest import draw_radiograph
from tests.unit.test_images import decode

CHECKERS = np.array([[0, 80, 160, 240], [240, 0, 80, 160], [160, 240, 0, 80], [80, 160, 240, 0]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("what", "pixels", "side", "expected"),
    [
        ("the right size already", CHECKERS, 4, CHECKERS),
        ("reduced", CHECKERS, 2, [[98, 132], [148, 98]]),
        ("wide", CHECKERS[:2], 4, [[0] * 4, CHECKERS[0], CHECKERS[1], [0] * 4]),
        ("tall", CHECKERS[:, :2], 4, np.pad(CHECKERS[:, :2], ((0, 0), (1, 1)))),
        ("an odd rest goes below", CHECKERS[:1], 4, [[0] * 4, CHECKERS[0], [0] * 4, [0] * 4]),
        ("enlarged", [[0, 200]], 4, [[0] * 4, [0, 50, 150, 200], [0, 50, 150, 200], [0] * 4]),
        ("one pixel", [[9]], 3, [[9] * 3] * 3),
    ],
)
def test_golden_pixels(what: str, pixels: object, side: int, expected: object) -> None:
    result = to_model_input(np.array(pixels, dtype=np.uint8), side=side, channels=1)
    assert result[:, :, 0].tolist() == np.array(expected).tolist(), what


@pytest.mark.parametrize(("height", "width"), [(100, 100), (320, 240), (60, 410), (500, 70)])
def test_proportions_are_kept_and_the_rest_is_black(height: int, width: int) -> None:
    result = to_model_input(np.full((height, width), 255, dtype=np.uint8), side=64, channels=1)[:, :, 0]
    rows, columns = np.nonzero(result.any(axis=1))[0], np.nonzero(result.any(axis=0))[0]
    shown_height, shown_width = len(rows), len(columns)
    assert max(shown_height, shown_width) == 64
    assert shown_height / shown_width == pytest.approx(height / width, rel=0.1)
    assert abs(rows[0] - (63 - rows[-1])) <= 1
    assert abs(columns[0] - (63 - columns[-1])) <= 1


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (3, 9000)])
def test_an_extreme_aspect_keeps_at_least_one_row(height: int, width: int) -> None:
    result = to_model_input(np.full((height, width), 200, dtype=np.uint8), side=224, channels=1)
    assert result.shape == (224, 224, 1)
    assert (result > 0).sum() == 224
    assert result.max() == 200


def test_three_channels_are_the_same_grey_three_times() -> None:
    pixels = decode(draw_radiograph(5))
    one, three = (to_model_input(pixels, side=48, channels=channels) for channels in (1, 3))
    assert three.shape == (48, 48, 3)
    assert (three == one).all()


def test_the_input_is_left_alone_and_may_be_read_only() -> None:
    pixels = decode(draw_radiograph(5, width=48, height=48))
    pixels.flags.writeable = False
    before = pixels.copy()
    result = to_model_input(pixels, side=48, channels=1)
    result[:] = 7
    assert (pixels == before).all()


def test_a_view_with_gaps_gives_the_same_as_a_copy() -> None:
    pixels = decode(draw_radiograph(5))[::2, ::-1]
    view, copy = (to_model_input(array, side=32, channels=1) for array in (pixels, pixels.copy()))
    assert (view == copy).all()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_a_picture_without_area_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(UnreadableImage, match="no area"):
        to_model_input(np.zeros(shape, dtype=np.uint8), side=8, channels=1)
