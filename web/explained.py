"""What an answer means, in sentences: how often such answers are right, what cannot be ruled out, how it came about."""

from __future__ import annotations

from core.preprocessing import GEOMETRY
from core.records.details import ModelAnswer
from core.records.fractures import FRACTURE_TASK, affirms, fracture_probability
from web.words import chance_words, label_words, listed


def chance_sentence(answer: ModelAnswer) -> str:
    """Say what the confidence means, as a share of such radiographs."""
    given = answer.prediction
    if given is None:
        return ""
    if answer.task == FRACTURE_TASK:
        words = f"A fracture in {chance_words(fracture_probability(given.scores))} radiographs with a score like this"
    else:
        words = f"Right in {chance_words(given.confidence)} answers that are as sure as this one"
    calibrated = (answer.card.get("calibration") or {}).get("fitted_on")
    if calibrated:
        return f"{words}, on pictures like those that the model was calibrated on."
    return f"{words}, if the model knew how sure it may be; nobody has compared that with the truth (not calibrated)."


def decision_sentence(answer: ModelAnswer) -> str:
    """Say from which probability on a fracture is suspected; nothing for models of other questions."""
    if answer.task != FRACTURE_TASK or answer.prediction is None:
        return ""
    decision = answer.card.get("decision") or {}
    if decision.get("threshold") is None:
        return "A fracture is suspected where it is more likely than not; the model's card sets no other threshold."
    threshold = float(decision["threshold"])
    least = threshold if affirms(str(decision.get("label"))) else 1 - threshold
    # With a digit more than the probability itself, which would else seem to be the threshold on both sides of it.
    words = f"A fracture is suspected from a probability of {least * 100:.1f} % on, the threshold on the model's card"
    wanted = decision.get("sensitivity_wanted")
    return f"{words}, chosen to find {chance_words(float(wanted))} fractures." if wanted else f"{words}."


def set_sentence(answer: ModelAnswer) -> str:
    """Say what the prediction set leaves open; nothing for a model without one."""
    given, conformal = answer.prediction, answer.card.get("conformal") or {}
    if given is None or not conformal.get("coverage"):
        return ""
    members = [_word(label) for label in given.prediction_set]
    out = [_word(label) for label in given.scores if label not in given.prediction_set]
    if not members:
        words = "It is like none of the classes"
    elif not out:
        words = f"None of the {len(members)} classes can be ruled out"
    elif len(out) <= len(members):
        words = f"Can be ruled out: {listed(out)}"
    else:
        words = f"It may be {listed(members, last='or')}; the other {len(out)} classes can be ruled out"
    wrong = f" Ruling out is wrong in {chance_words(1 - float(conformal['coverage']))} radiographs." if out else ""
    return f"{words}.{wrong}"


def preparation_sentence(answer: ModelAnswer) -> str:
    """Say what was done to the picture before the network saw it."""
    wanted = answer.card.get("input") or {}
    if wanted.get("geometry") != GEOMETRY or not wanted.get("side"):
        return "not recorded"
    side = wanted["side"]
    grey = "8-bit grey" if wanted.get("channels") == 1 else "8-bit grey, the same in three channels"
    return f"Turned to {grey}, fitted into {side} by {side} px with its proportions kept, the rest black ({GEOMETRY})."


def scaling_sentence(answer: ModelAnswer) -> str:
    """Say what was done to the network's output."""
    calibration = answer.card.get("calibration") or {}
    if not calibration.get("fitted_on"):
        return "The network's own probabilities, not calibrated."
    images = f", which fitted best on {calibration['images']} images" if calibration.get("images") else ""
    shift = float(calibration.get("shift") or 0.0)
    shifted = f", the first one's moved by {shift:g}" if shift else ""
    divided = f"its logits divided by {float(calibration['temperature']):g}{shifted}"
    return f"Calibrated: {divided}{images} ({calibration['fitted_on']})."


def _word(label: str) -> str:
    return label_words(label).lower()
