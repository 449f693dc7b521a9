import numpy as np
import pytest

from core.answers import DOUBTFUL, UNLIKE_RADIOGRAPHS, Answer, answers, calibrate
from core.engines.outputs import Outputs
from core.errors import ModelMismatch
from tests.fakes import make_card

ROWS = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.0, 0.0, 1.0]], dtype=np.float32)


def all_good(rows: np.ndarray, **changes: object) -> list[Answer]:
    found = [answer for answer in answers(Outputs(rows), make_card(**changes)) if answer]
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
    found = answers(Outputs(np.array([ROWS[0], row, ROWS[1]])), make_card())
    assert [answer and answer.label for answer in found] == ["spiral", None, "greenstick"]


@pytest.mark.parametrize("shape", [(2, 4), (2, 2), (3,), (2, 3, 1)])
def test_a_wrong_number_of_columns_is_the_models_fault(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelMismatch, match=r"returned an array of shape .*, expected \(N, 3\)"):
        answers(Outputs(np.zeros(shape)), make_card())


def test_an_empty_batch_has_no_answers() -> None:
    assert answers(Outputs(np.zeros((0, 3))), make_card()) == []


def test_of_equal_scores_the_first_label_is_the_answer() -> None:
    assert all_good(np.full((1, 3), 1 / 3))[0].label == "greenstick"


BINARY = {"labels": ["fractured", "not-fractured"], "task": "fracture"}
DECISION = {"label": "fractured", "threshold": 0.2}


@pytest.mark.parametrize(
    ("fractured", "label", "confidence"),
    [(0.9, "fractured", 0.9), (0.3, "fractured", 0.3), (0.2, "fractured", 0.2), (0.19, "not-fractured", 0.81)],
)
def test_a_decision_threshold_gives_the_label_and_its_own_probability(
    fractured: float, label: str, confidence: float
) -> None:
    row = np.array([[fractured, 1 - fractured]])
    answer = all_good(row, **BINARY, decision=DECISION)[0]
    assert (answer.label, answer.confidence) == (label, pytest.approx(confidence))
    assert answer.scores == pytest.approx({"fractured": fractured, "not-fractured": 1 - fractured})
    assert answer.label in answer.prediction_set


def test_the_decision_is_taken_after_calibration() -> None:
    row = np.array([[0.1, 0.9]])  # at temperature 2 the odds 1 : 9 become 1 : 3
    answer = all_good(row, **BINARY, decision=DECISION, calibration={"temperature": 2.0})[0]
    assert (answer.label, answer.confidence) == ("fractured", pytest.approx(0.25))


def test_a_shift_moves_the_first_label_after_the_temperature() -> None:
    row = np.array([[0.1, 0.9]])  # odds of 1 : 3 at temperature 2, times three
    answer = all_good(row, **BINARY, decision=DECISION, calibration={"temperature": 2.0, "shift": np.log(3)})[0]
    assert answer.scores == pytest.approx({"fractured": 0.5, "not-fractured": 0.5})


def test_the_label_is_in_its_set_though_another_class_alone_reaches_the_threshold() -> None:
    answer = all_good(np.array([[0.3, 0.7]]), **BINARY, decision=DECISION, conformal={"threshold": 0.5})[0]
    assert answer.prediction_set == ("not-fractured", "fractured")


@pytest.mark.parametrize(("fractured", "flagged"), [(0.04, False), (0.05, True), (0.49, True), (0.5, False)])
def test_a_band_around_the_decision_is_doubtful(fractured: float, flagged: bool) -> None:
    doubt = {"low": 0.05, "high": 0.5}
    answer = all_good(np.array([[fractured, 1 - fractured]]), **BINARY, decision=DECISION, doubt=doubt)[0]
    assert answer.flags == ((DOUBTFUL,) if flagged else ())


@pytest.mark.parametrize(
    ("score", "flags"), [(0.5, ()), (1.5, ()), (1.51, (UNLIKE_RADIOGRAPHS,)), (np.nan, (UNLIKE_RADIOGRAPHS,))]
)
def test_a_score_above_the_threshold_flags_what_is_unlike_radiographs(score: float, flags: tuple[str, ...]) -> None:
    outputs = Outputs(ROWS[:1], np.array([score]))
    (answer,) = answers(outputs, make_card(outlier={"threshold": 1.5}))
    assert answer and answer.flags == flags


def test_without_a_threshold_on_the_card_nothing_is_unlike_radiographs() -> None:
    (answer,) = answers(Outputs(ROWS[:1], np.array([1e9])), make_card())
    assert answer and answer.flags == ()
