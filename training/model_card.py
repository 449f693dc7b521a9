"""What a bundle says of itself: `card.json` for programs, `README.md` for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from string import Template
from typing import Any

from core.preprocessing import GEOMETRY
from training.cross_validated import CROSS_VALIDATED
from training.report import STATEMENT, class_table, confusion_table, figures_table, group_table, sentences
from training.report_formats import markdown_table
from training.sources import data_source, weights_source


def card_document(
    *,
    name: str,
    version: str,
    title: str,
    run: Mapping[str, Any],
    kept: Mapping[str, Any],
    files: Mapping[str, str],
    sections: Mapping[str, Any],
    metrics: Mapping[str, Any],
    test_reads: int,
) -> dict[str, Any]:
    """Assemble the card; `core.bundle.ModelCard` reads it.

    Args:
        name: Of the model.
        version: Of the model.
        title: For people.
        run: The run's description, `run.json`.
        kept: The history's row of the epoch whose network this is.
        files: File name to sha256.
        sections: What was fitted and measured for publishing: calibration, conformal, decision, doubt, outlier and
            more, as `publish` makes them.
        metrics: Split name to the figures that `evaluate` prints.
        test_reads: How often the test split has been read for this run.
    """
    parameters = run["parameters"]
    leakage = run["data"].get("leakage")
    return {
        "name": name,
        "version": version,
        "title": title,
        "task": run["task"],
        "statement": STATEMENT,
        **({"leakage": leakage} if leakage else {}),
        "labels": run["labels"],
        "input": {"side": parameters["image_size"], "channels": 1, "geometry": GEOMETRY},
        **sections,
        "metrics": dict(metrics),
        "test_reads": test_reads,
        "recipe": {"name": run["recipe"], **parameters},
        "seed": parameters["seed"],
        "kept_epoch": kept.get("epoch"),
        "data": {**data_source(run["data"]["sha256"]["all"]), **run["data"]},
        "backbone_weights": weights_source(parameters),
        "versions": run["versions"],
        "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": dict(files),
    }


_README = Template("""\
# $title: $name $version

**$statement**
$leakage
Gives a radiograph one probability for each of $classes classes: $labels.
Takes $side x $side px grey, made by `core/preprocessing.py` (geometry `$geometry`: proportions kept, padded with
black); scaling to the backbone's range is the network's first layer.

## Figures

Made by `fracture-queue evaluate $name/$version --data DIR --split SPLIT`, engine `litert`$honesty.
Intervals are 95 %, bootstrapped over sources. $basis
The test split has been read $test_reads for this run.

$figures

$sentences

$classes_table

$confusion
$subgroups
## How answers are made

$answers

## Training

Recipe `$recipe`, seed $seed, epoch $kept_epoch kept; every parameter is in `card.json`.
Backbone weights: $weights.
$compiled

## Data and licence

$attribution
$counts images; the data's hash is in `card.json`.$dealt

## Limits

- Labels come from the data set's publisher$label_limits
- Image sources, body parts, ages and devices elsewhere differ from those of the data; expect worse on other pictures.
- With so few test images one image moves the accuracy by $one_image points: read the intervals, not the digits.
""")


def readme(card: Mapping[str, Any]) -> str:
    """Write the model card for people from the card's document."""
    metrics = card["metrics"]
    last = list(metrics.values())[-1]
    reads, weights = card["test_reads"], card["backbone_weights"]
    binary = len(card["labels"]) == 2
    return _README.substitute(
        card,
        leakage=_leakage(card),
        classes=len(card["labels"]),
        labels=", ".join(card["labels"]),
        side=card["input"]["side"],
        geometry=card["input"]["geometry"],
        honesty="" if card.get("leakage") else ", on images of which none, nor their source, was trained on",
        basis=_basis(card),
        test_reads="once" if reads == 1 else f"{reads} times",
        figures=markdown_table(figures_table(list(metrics.values()))),
        sentences=_list([f"{name}: {words}" for name, figures in metrics.items() for words in sentences(figures)]),
        classes_table=markdown_table(class_table(last)),
        confusion=f"Truth in rows, answers in columns ({last['split']}):\n\n{markdown_table(confusion_table(last))}\n",
        subgroups=_subgroups(card.get("subgroups") or {}),
        answers=_list(_answers(card)),
        recipe=card["recipe"]["name"],
        weights=f"{weights['name']} ({weights.get('licence', 'no licence applies')})",
        compiled=_compiled(card["compiled"]),
        attribution=_attribution(card),
        counts=", ".join(f"{count} {split}" for split, count in card["data"]["counts"].items()),
        dealt=f" {dealt}" if (dealt := card["data"].get("dealt")) else "",
        label_limits=(
            "; the same bone in other views may say more than one picture does."
            if binary
            else " without a clinical reference; several types can describe one fracture.\n"
            '- The model knows no "no fracture": every radiograph is given one of its types.'
        ),
        one_image=f"{100 / last['images']:.1f}",
    )


def _leakage(card: Mapping[str, Any]) -> str:
    if not card.get("leakage"):
        return ""
    counted = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in card["leakage"].items())
    return (
        "\n**Its figures are inflated by leakage: copies or near-duplicates of images that it is judged on were "
        f"trained on ({counted}). They say nothing about new radiographs.**\n"
    )


def _basis(card: Mapping[str, Any]) -> str:
    fitted = card["calibration"]["fitted_on"]
    if CROSS_VALIDATED in card["metrics"]:
        return (
            f"Calibrated on predictions of images by networks that had not seen them ({fitted}); the cross-validated "
            "figures are made with a calibration that leaves out the fold it is judged on."
        )
    return (
        f"Calibrated on the validation split ({fitted}), which had also chosen the epoch: the run was made without "
        "folds. Its figures there flatter."
    )


def _answers(card: Mapping[str, Any]) -> list[str]:
    shift = card["calibration"].get("shift")
    shifted = f", the first label's logit moved by {shift}" if shift else ""
    found = [
        f"Scores are the network's probabilities at temperature {card['calibration']['temperature']}{shifted}. The "
        "label's own score is the confidence."
    ]
    if decision := card["decision"]:
        found.append(
            f"The label is `{decision['label']}` from a score of {decision['threshold']:.4f} on, chosen for "
            f"{decision['sensitivity_wanted']:.0%} sensitivity ({decision['chosen_on']}); so it can be the answer "
            "though less likely than not."
        )
    if conformal := card["conformal"]:
        found.append(
            f"The prediction set holds every class with a score of at least {conformal['threshold']:.4f}, and always "
            f"the label. It is made to hold the truth in {conformal['coverage']:.0%} of the images."
        )
    if doubt := card["doubt"]:
        limits = (
            f"from {doubt['low']:.4f} to {doubt['high']:.4f}" if "low" in doubt else f"below {doubt['threshold']:.4f}"
        )
        found.append(f"`doubtful` (a person should look): {doubt['rule']}; scores {limits}.")
    if outlier := card["outlier"]:
        noticed = ", ".join(f"{kind} {share:.0%}" for kind, share in outlier["noticed"].items())
        flagged = ", ".join(f"{each['flagged']:.1%} of {each['name']}" for each in outlier["fitted_on"])
        found.append(
            f"`unlike-radiographs` (perhaps not one): an outlier score above {outlier['threshold']}, the network's "
            f"second output. Of radiographs whose sources it was not fitted on it flags {flagged}; of made-up pictures "
            f"that no threshold was chosen on it notices: {noticed}."
        )
    return found


def _subgroups(found: Mapping[str, Any]) -> str:
    parts = []
    for title, figures in found.items():
        if title.startswith("by "):
            parts.append(markdown_table(group_table(title[3:], figures)))
        elif title != "split":
            area = figures.get("roc_auc")
            ends = figures["intervals_95"].get("roc_auc", [0, 1])
            if area is not None:
                parts.append(
                    f"On {found['split']} {title} ({figures['images']} images): ROC AUC {area:.4f} "
                    f"({ends[0]:.4f} to {ends[1]:.4f})."
                )
    return "\n" + "\n\n".join(parts) + "\n" if parts else ""


def _compiled(compiled: Mapping[str, Any]) -> str:
    lines = [
        f"`model.tflite` is compiled from `model.keras` with {compiled['precision']} weights; on the validation split:"
    ]
    for precision, found in compiled["tried"].items():
        lines.append(
            f"{precision} ({found['bytes'] / 1e6:.1f} MB): {found['labels']} labels change, probabilities differ by at "
            f"most {found['probability']:.1g}, outlier scores by {found['outlier']:.1g} of the threshold"
            f"{'' if found['accepted'] else ': not accepted'}."
        )
    return "\n".join(lines)


def _attribution(card: Mapping[str, Any]) -> str:
    sources = [card["data"], *(card["outlier"] or {}).get("fitted_on", ())[1:]]
    parts = []
    for place, source in enumerate(sources):
        licence = " ".join(filter(None, (source["licence"], source.get("licence_url"))))
        what = "" if place == 0 else "Only the outlier score has also seen: "
        parts.append(
            f"{what}{source['attribution']}\nSource: {source.get('url', 'not stated')}. Licence: {licence}.\n"
            f"Changes: {source.get('changes', 'not stated.')}\n"
        )
    return "\n".join(parts)


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
