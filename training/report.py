"""What an evaluation says, in order: sections of sentences, tables and pictures. `report_formats.py` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.bundle import Bundle
from training.evaluate import Evaluation
from training.plots import confidence_picture, confusion_picture, reliability_picture, roc_picture, samples_picture

STATEMENT = (
    "Research and education only. No medical device: not for diagnosis, not for treatment, not for any decision "
    "about a person."
)

#: Names in the order in which they are shown.
NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "top_2_accuracy": "top-2 accuracy",
    "top_3_accuracy": "top-3 accuracy",
    "roc_auc": "ROC AUC",
    "macro_roc_auc": "macro ROC AUC, each class against the others",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "brier": "Brier score (0 to 2)",
    "log_loss": "log loss (nats)",
    "ece": "expected calibration error",
    "mean_confidence": "mean confidence",
    "confidence_gap": "|mean confidence - accuracy|",
}
_GROUP_NAMES = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "sensitivity", "specificity")


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A PNG and what it shows, for those who do not see it."""

    png: bytes
    words: str


@dataclass(frozen=True)
class Section:
    """A part of a report."""

    title: str
    sentences: tuple[str, ...] = ()
    table: Table | None = None
    picture: Picture | None = None


@dataclass(frozen=True)
class Report:
    """A whole report; it always carries STATEMENT."""

    title: str
    sentences: tuple[str, ...]
    sections: tuple[Section, ...]


def evaluation_report(bundle: Bundle, engine: str, evaluation: Evaluation, *, pictures: bool) -> Report:
    """Put together what `evaluate` shows.

    Args:
        bundle: The model.
        engine: That ran it.
        evaluation: What came out.
        pictures: Whether plots are drawn, which takes some seconds.
    """
    figures, timing, card = evaluation.figures, evaluation.milliseconds_per_image, bundle.card
    sections = [
        Section("Figures", ("Intervals are 95 %, bootstrapped over sources.",), figures_table([figures])),
        Section("Calibration, prediction sets, flags", (*sentences(figures), *_unjudged_sentences(evaluation))),
        Section("Classes", table=class_table(figures)),
        Section("Confusion matrix", ("Rows are the truth, columns the answers.",), confusion_table(figures)),
    ]
    if "by" in figures:
        groups = figures["by"]
        sections.insert(1, Section(f"By {groups['column']}", table=group_table(groups["column"], groups["groups"])))
    if pictures:
        sections += _pictures(evaluation)
    spent = f"decoding {timing['decode']} ms, network and answer {timing['network']} ms"
    sections.append(Section("Time", (f"Per image: {spent}, on this machine.",)))
    return Report(
        title=f"{card.name} {card.version} on {figures['split']}",
        sentences=(
            f"{figures['images']} images of {figures['clusters']} sources, data {figures['data_sha256'][:12]}, "
            f"engine {engine}, card {bundle.sha256[:12]}.",
            *left_out_sentences(figures),
        ),
        sections=tuple(sections),
    )


def _unjudged_sentences(evaluation: Evaluation) -> list[str]:
    """Say which pictures the page would not show a number for; they are in the figures all the same."""
    found = ", ".join(f"{count} {word}" for word, count in sorted(evaluation.unjudged.items()))
    return [f"Shown without a confident number, for a word of docs/plausibility.md: {found}."] if found else []


def figures_table(columns: Sequence[Mapping[str, Any]]) -> Table:
    """Show evaluations side by side: the value and the 95 % interval of each figure.

    Args:
        columns: Evaluations' figures; what the first one lacks is not shown.
    """
    head = [""]
    for figures in columns:
        head += [f"{figures['split']} ({figures['images']} images)", "95 % interval"]
    rows = []
    for name, shown in NAMES.items():
        if name in columns[0]:
            row = [shown]
            for figures in columns:
                row += [_number(figures.get(name)), _interval(figures, name)]
            rows.append(tuple(row))
    return Table(tuple(head), tuple(rows))


def class_table(figures: Mapping[str, Any]) -> Table:
    """Show precision, recall and F1 of each class: the classification report."""
    rows = [
        (label, str(row["images"]), *(_number(row[name]) for name in ("precision", "recall", "f1")))
        for label, row in figures["per_class"].items()
    ]
    total = (str(figures["images"]), *(_number(figures[f"macro_{name}"]) for name in ("precision", "recall", "f1")))
    return Table(
        (f"class ({figures['split']})", "images", "precision", "recall", "F1"), (*rows, ("macro mean", *total))
    )


def confusion_table(figures: Mapping[str, Any]) -> Table:
    """Show the counts; true classes are rows."""
    confusion = figures["confusion_matrix"]
    rows = [
        (label, *(str(count or ".") for count in row))
        for label, row in zip(confusion["labels"], confusion["counts"], strict=True)
    ]
    return Table(("truth", *(label[:6] for label in confusion["labels"])), tuple(rows))


def group_table(column: str, groups: Mapping[str, Mapping[str, Any]]) -> Table:
    """Show parts of a split side by side."""
    any_group = next(iter(groups.values()))
    names = [name for name in _GROUP_NAMES if name in any_group]
    ranked = "roc_auc" if "roc_auc" in names else "accuracy"
    positive = [next(iter(any_group["per_class_images"]))] if ranked == "roc_auc" else []
    head = (column, "images", *positive, *(NAMES[name] for name in names), f"{NAMES[ranked]}, 95 % interval")
    rows = [
        (
            value,
            str(found["images"]),
            *(str(found["per_class_images"][label]) for label in positive),
            *(_number(found[name]) for name in names),
            _interval(found, ranked),
        )
        for value, found in groups.items()
    ]
    return Table(head, tuple(rows))


def left_out_sentences(figures: Mapping[str, Any]) -> list[str]:
    """Say which images were left out."""
    return [
        f"Left out: {rule['images']} images with {rule['column']} = {rule['value']}."
        for rule in figures.get("left_out", ())
    ]


def sentences(figures: Mapping[str, Any]) -> list[str]:
    """Say what the figures of calibration, prediction sets and flags mean."""
    perfect = figures["ece_if_perfect"]
    found = [
        f"Expected calibration error {_number(figures['ece'])} (10 bins of equal size); a perfectly calibrated model "
        f"shows {_number(perfect['mean'])} on average with so many images, and no more than "
        f"{_number(perfect['percentile_95'])} in 95 of 100 cases (simulated).",
        f"Mean confidence {_number(figures['mean_confidence'])}, accuracy {_number(figures['accuracy'])}: "
        f"{_number(figures['confidence_gap'])} apart.",
    ]
    if sets := figures.get("prediction_sets"):
        low, high = sets["coverage_interval_95_binomial"]
        found.append(
            f"Prediction sets, stated to hold the truth in {sets['coverage_stated']:.0%} of the images, hold it in "
            f"{sets['coverage']:.1%} (95 % interval {low:.1%} to {high:.1%} if images were independent, "
            f"{_interval(figures, 'set_coverage')} over sources)."
        )
        others = sets["size_from_frequencies"]
        compared = others and (
            f"; sets made from the class frequencies alone, at the same coverage, hold {others['randomised']:.2f} when "
            f"the last class is taken only as often as needed, {others['fixed']:.0f} otherwise"
        )
        found.append(f"They hold {sets['mean_size']:.2f} classes on average{compared or ''}.")
    if human := figures.get("needs_a_human"):
        found.append(
            f"Flagged for a person: {human['share']:.1%} of the answers, of which {_share(human['accuracy_flagged'])} "
            f"are right; of the others {_share(human['accuracy_others'])}."
        )
    if strange := figures.get("unlike_radiographs"):
        found.append(f"Flagged as unlike radiographs: {strange['share']:.1%}.")
    return found


def _pictures(evaluation: Evaluation) -> list[Section]:
    judged = evaluation.judged
    drawn = [
        ("Confusion matrix, drawn", confusion_picture(judged), "How often each true class was given each label."),
        ("Reliability", reliability_picture(judged), "The share of right answers against confidence, in ten bins."),
        ("Confidence", confidence_picture(judged), "How often each confidence occurs, right and wrong answers."),
    ]
    if len(judged.labels) == 2:
        drawn.append(("ROC curve", roc_picture(judged), "Sensitivity against 1 - specificity."))
    shown = samples_picture(judged, evaluation.images)
    words = "Some images with truth, answer and confidence; right answers in blue, wrong ones in red, chosen at random."
    drawn.append(("Sample answers", shown, words))
    return [Section(title, (words,), picture=Picture(png, words)) for title, png, words in drawn]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _interval(figures: Mapping[str, Any], name: str) -> str:
    ends = figures["intervals_95"].get(name)
    return f"{ends[0]:.4f} to {ends[1]:.4f}" if ends else ""
