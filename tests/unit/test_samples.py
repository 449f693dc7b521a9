"""The page of samples: test images of the active model's own data, the truth beside the answer."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import samples
from core.settings import Settings
from core.tables import ModelVersionRow, Role
from tests.conftest import draw_radiograph
from tests.unit.web_fixtures import LABELS, OURS, Site
from training.data import load_dataset

CLASSES = {"avulsion": "Avulsion Fracture", "greenstick": "Greenstick", "spiral": "spiral_fracture"}


def write_data(folder: Path, count: int = 15) -> None:
    """A data set with a manifest: every third image is of the test split."""
    (folder / "images").mkdir(parents=True)
    with (folder / "MANIFEST.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "class", "split", "sha256"])
        for seed in range(3 * count):
            data = draw_radiograph(seed, width=16, height=16)
            (folder / "images" / f"{seed}.png").write_bytes(data)
            label = CLASSES[LABELS[seed % 2]]
            split = ("train", "test", "excluded")[seed % 3]
            writer.writerow([f"images/{seed}.png", label, split, hashlib.sha256(data).hexdigest()])


def card_of(folder: Path) -> dict[str, Any]:
    """The part of a model card that training writes."""
    dataset = load_dataset(folder, LABELS)
    return {
        "labels": list(LABELS),
        "title": "Kinds",
        "data": {
            **{"name": "Bones", "url": "https://example.org/bones", "licence": "CC BY 4.0"},
            **{"licence_url": "https://creativecommons.org/licenses/by/4.0/", "attribution": "Bones, by Somebody."},
            "sha256": dataset.hashes(),
        },
    }


@pytest.fixture
def site(settings: Settings, tmp_path: Path) -> Iterator[Site]:
    write_data(tmp_path / "data" / "bones")
    site = Site(settings.with_changes(data=tmp_path / "data"))
    with site.database.transaction() as session:
        session.get_one(ModelVersionRow, 1).card = card_of(tmp_path / "data" / "bones")
    yield site
    site.database.dispose()


def shown(site: Site, address: str) -> list[str]:
    """Return the sha256 of the images on a page."""
    return re.findall(r"sha256=([0-9a-f]{64})", site.client.get(address).text)


def test_a_page_of_test_images_shows_the_truth_and_where_the_data_come_from(site: Site, tmp_path: Path) -> None:
    answer = site.client.get("/samples")
    assert answer.status_code == 302
    page = site.client.get(answer.location).text

    images = shown(site, answer.location)
    assert len(set(images)) == 12
    tests = {sample.sha256 for sample in load_dataset(tmp_path / "data" / "bones", LABELS).split("test")}
    assert set(images) <= tests
    assert {"Avulsion", "Greenstick"} == set(re.findall(r"<dt>Truth</dt><dd>(\w+)</dd>", page))
    for words in ("Bones, by Somebody.", "CC BY 4.0", "https://example.org/bones", "Classify these", "No answers yet"):
        assert words in page
    picture = site.client.get(f"/samples/picture.png?model=kind/1.0.0&sha256={images[0]}")
    assert (picture.status_code, picture.mimetype) == (200, "image/png")
    # The same address shows the same images, another one others.
    assert shown(site, answer.location) == images
    assert any(shown(site, f"/samples?seed={seed}") != images for seed in range(3))


def test_samples_are_classified_when_asked_for_and_then_judged(site: Site) -> None:
    before = shown(site, "/samples?seed=1")
    assert site.rung == []  # looking submits nothing
    answer = site.client.post("/samples", data={"seed": "1"}, headers=OURS)
    assert (answer.status_code, answer.location) == (303, "/samples?seed=1")
    assert site.rung == [12]
    assert "data-live" in site.client.get(answer.location).text
    assert site.client.get("/api/v1/submissions").json["submissions"][0]["name"] == "Samples: Bones"

    site.classify("greenstick", 0.8)

    page = site.client.get(answer.location).text
    truths = re.findall(r"<dt>Truth</dt><dd>(\w+)</dd>", page)
    assert shown(site, answer.location) == before
    assert page.count(">Right<") == truths.count("Greenstick")
    assert page.count(">Wrong<") == truths.count("Avulsion")
    assert f"{truths.count('Greenstick')} of 12 right." in page
    assert "Classify" not in page
    # Once more nothing is submitted.
    site.client.post("/samples", data={"seed": "1"}, headers=OURS)
    assert site.rung == [12]


def test_a_viewer_looks_and_submits_nothing(site: Site) -> None:
    site.add_user("vera", Role.VIEWER)
    site.sign_in("vera")
    assert "Classify" not in site.client.get("/samples?seed=1").text
    assert site.client.post("/samples", data={"seed": "1"}, headers=OURS).status_code == 403


@pytest.mark.parametrize(("data", "words"), [(False, "with <code>FRACTURE_DATA</code> set"), (True, "No <code>MANI")])
def test_without_the_models_own_data_a_sentence_says_how_to_get_them(
    settings: Settings, tmp_path: Path, data: bool, words: str
) -> None:
    # given: a manifest of other images, or no setting at all
    write_data(tmp_path / "other", count=5)
    write_data(tmp_path / "bones", count=6)
    site = Site(settings.with_changes(data=tmp_path / "other") if data else settings)
    with site.database.transaction() as session:
        session.get_one(ModelVersionRow, 1).card = card_of(tmp_path / "bones")
    page = site.client.get("/samples?seed=1").text
    site.database.dispose()
    assert "are not at hand" in page
    assert words in page
    assert "https://example.org/bones" in page


def test_a_sample_that_was_changed_is_refused(site: Site, tmp_path: Path) -> None:
    [first, *_] = shown(site, "/samples?seed=1")
    for path in (tmp_path / "data" / "bones" / "images").iterdir():
        path.write_bytes(b"something else")
    answer = site.client.get(f"/samples/picture.png?model=kind/1.0.0&sha256={first}")
    assert answer.status_code == 503
    assert "differs from its sha256" in answer.text
    assert site.client.post("/samples", data={"seed": "1"}, headers=OURS).status_code == 503


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/samples?model=nothing/1.0.0&seed=1", 404),
        ("/samples?seed=x", 400),
        ("/samples/picture.png?model=kind/1.0.0&sha256=" + "0" * 64, 404),
        ("/samples/picture.png?model=kind/1.0.0", 404),
        ("/samples/picture.png", 400),
    ],
)
def test_what_there_is_not_is_said(site: Site, address: str, status: int) -> None:
    assert site.client.get(address).status_code == status


def test_a_manifest_leads_out_of_its_folder_nowhere(tmp_path: Path) -> None:
    write_data(tmp_path / "bones", count=1)
    manifest = tmp_path / "bones" / "MANIFEST.csv"
    manifest.write_text(manifest.read_text().replace("images/1.png", "../../etc/passwd"))
    assert samples._test_split(manifest, 0, LABELS) == ()


def test_the_shipped_cards_are_found_in_their_data(data_folder: Path) -> None:
    from core.bundle import find_bundles
    from core.settings import MODELS_FOLDER

    for bundle in find_bundles(MODELS_FOLDER):
        found = samples.test_samples(data_folder, bundle.card.document)
        assert len(found) == bundle.card.document["data"]["counts"]["test"], bundle.card.name
