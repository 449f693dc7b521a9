import numpy as np
import pytest

from core.answers import DOUBTFUL, Answer, answers, calibrate
from core.errors import ModelMismatch
from tests.fakes import make_card

ROWS = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0]], dtype=np.float32)


def all_good(rows: np.ndarray, **changes: object) -> list[Answer]:
    found = [answer for answer in answers(rows, make_card(**changes)) if answer]
    assert len(found) == len(rows)
    return found


def test_answers_come_in_the_order_of_the_batch() -> None:
    found = all_good(ROWS)
    assert [answer.label for answer in found] == ["spiral", "greenstick", "spiral"]
    assert found[0].confidence == pytest.approx(0.7)
    assert found[0].scores == pytest.approx({"greenstick": 0.1, "oblique": 0.2, "spiral": 0.7})


def test_a_temperature_of_one_leaves_the_probabilities_alone() -> None:
    assert calibrate(ROWS, 1.0) == pytest.approx(ROWS, abs=1e-6)


@pytest.mark.parametrize(("temperature", "top"), [(0.5, 0.9074), (1.0, 0.7), (2.0, 0.5229), (1000.0, 0.3337)])
def test_a_higher_temperature_makes_a_network_less_sure(temperature: float, top: float) -> None:
    answer = all_good(ROWS[:1], calibration={"temperature": temperature})[0]
    assert answer.label == "spiral"
    assert answer.confidence == pytest.approx(top, abs=1e-4)


@pytest.mark.parametrize("temperature", [0.01, 0.7, 3.0])
def test_scores_always_sum_to_one(temperature: float) -> None:
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.full(3, 0.05), size=500).astype(np.float32)
    for answer in all_good(rows, calibration={"temperature": temperature}):
        assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-9)
        assert all(0 <= score <= 1 for score in answer.scores.values())


@pytest.mark.parametrize(
    ("threshold", "members"),
    [
        (None, ("spiral",)),
        (0.05, ("spiral", "oblique", "greenstick")),
        (0.15, ("spiral", "oblique")),
        (0.69, ("spiral",)),
        (0.99, ("spiral",)),  # never empty: the label itself stays
    ],
)
def test_the_prediction_set_holds_what_cannot_be_ruled_out(threshold: float | None, members: tuple[str, ...]) -> None:
    conformal = None if threshold is None else {"threshold": threshold}
    document = {} if conformal is None else {"conformal": conformal}
    assert all_good(ROWS[:1], **document)[0].prediction_set == members


@pytest.mark.parametrize(("threshold", "flags"), [(None, ()), (0.6, ()), (0.8, (DOUBTFUL,))])
def test_an_unsure_answer_is_flagged_doubtful(threshold: float | None, flags: tuple[str, ...]) -> None:
    document = {} if threshold is None else {"doubt": {"threshold": threshold}}
    assert all_good(ROWS[:1], **document)[0].flags == flags


@pytest.mark.parametrize(
    "row",
    [[np.nan, 0.5, 0.5], [np.inf, 0, 0], [0.4, 0.4, 0.4], [0, 0, 0], [-0.5, 0.5, 1.0], [np.nan] * 3],
)
def test_a_row_that_is_no_set_of_probabilities_is_none_and_its_mates_are_not(row: list[float]) -> None:
    found = answers(np.array([ROWS[0], row, ROWS[1]]), make_card())
    assert [answer and answer.label for answer in found] == ["spiral", None, "greenstick"]


@pytest.mark.parametrize("shape", [(2, 4), (2, 2), (3,), (2, 3, 1)])
def test_a_wrong_number_of_columns_is_the_models_fault(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelMismatch, match=r"returned an array of shape .*, expected \(N, 3\)"):
        answers(np.zeros(shape), make_card())


def test_an_empty_batch_has_no_answers() -> None:
    assert answers(np.zeros((0, 3)), make_card()) == []


def test_of_equal_scores_the_first_label_is_the_answer() -> None:
    assert all_good(np.full((1, 3), 1 / 3))[0].label == "greenstick"
