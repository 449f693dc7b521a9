"""Test images of an active model's data set: the truth beside what the model says."""

from __future__ import annotations

import io
import random
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from marshmallow import Schema
from PIL import Image
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as Redirect

from core import images
from core.errors import NotFound
from core.ingest import Incoming
from core.records.fractures import FRACTURE_TASK
from core.records.intake import Submission
from core.records.models import ModelVersion, active_models, model_cards
from core.records.results import Result, results_of_contents
from core.samples import Sample, test_samples
from core.tables import Source
from web.identity import actor_words
from web.kinds import Sha256, Whole, Words
from web.openapi import tagged
from web.parameters import read
from web.parts import parts
from web.problems import BadParameter

blueprint = Blueprint("samples", __name__)

#: Images on one page.
_SHOWN = 12
_LARGEST_SEED = 10**6
#: Longest side of a picture in pixels.
_SIDE = 320


class SampleParameters(Schema):
    """Which samples are shown."""

    model = Words("NAME/VERSION of an active model.")
    seed = Whole("The same number shows the same images.", 0, _LARGEST_SEED)


class SamplePicture(Schema):
    """Which picture is wanted."""

    model = Words("NAME/VERSION of an active model.", required=True)
    sha256 = Sha256("Of the image.")


@dataclass(frozen=True)
class Shown:
    """One sample and what the model says of it."""

    sample: Sample
    result: Result | None  # None: it has never come in

    @property
    def unasked(self) -> bool:
        """Whether the model was never asked about it."""
        return self.result is None or self.result.status is None

    @property
    def right(self) -> bool | None:
        """Whether the answer is the truth; None: there is no answer."""
        return None if self.result is None or self.result.label is None else self.result.label == self.sample.label


@blueprint.get("/samples")
def samples_page() -> str | Redirect:
    """Show some test images, always the same for the same seed.

    Errors: 400 a parameter cannot be used, 404 there is no such active model.
    """
    asked = read(SampleParameters, request.args, strict=False)
    if "seed" not in asked:  # the address has to say which, so that the page can be looked at again
        return redirect(url_for(".samples_page", **asked, seed=secrets.randbelow(_LARGEST_SEED)))
    with parts().database.reading() as session:
        models, cards = active_models(session), model_cards(session)
        model = _model(models, asked.get("model"))
        card = cards[model.id] if model else {}
        shown = _shown(session, model, _chosen(card, asked["seed"])) if model else []
    return render_template(
        "samples.html",
        models=models,
        model=model,
        card=card,
        data=card.get("data") or {},
        shown=shown,
        seed=asked["seed"],
        another=secrets.randbelow(_LARGEST_SEED),
        given=parts().settings.data_path is not None,
    )


@blueprint.post("/samples")
def post_samples() -> Redirect:
    """Send those of the shown images to the queue about which the model was never asked.

    Errors: 400 a parameter cannot be used, 404 there is no such active model, 503 nothing could be recorded.
    """
    asked = read(SampleParameters, request.form, strict=False)
    if "seed" not in asked:
        raise BadParameter("The parameter seed is missing; it says which images are meant.")
    with parts().database.reading() as session:
        model = _model(active_models(session), asked.get("model"))
        card = model_cards(session)[model.id] if model else {}
        unasked = [
            each.sample
            for each in (_shown(session, model, _chosen(card, asked["seed"])) if model else [])
            if each.unasked
        ]
    if unasked:
        contents = [(sample.path.name, sample.read()) for sample in unasked]
        name = f"Samples: {(card.get('data') or {}).get('name', 'test images')}"
        parts().ingest.take(
            Submission(source=Source.WEB, name=name, actor=actor_words()),
            [Incoming(name=name, data=data, size=len(data)) for name, data in contents],
        )
    return redirect(url_for(".samples_page", **asked), 303)


@blueprint.get("/samples/picture.png")
def get_picture() -> Response:
    """Return a sample as a grey PNG.

    Errors: 404 there is no such sample, 422 it is damaged, 503 it cannot be read.
    """
    asked = read(SamplePicture, request.args)
    with parts().database.reading() as session:
        model = _model(active_models(session), asked["model"])
        card = model_cards(session)[model.id] if model else {}
    sample = next((each for each in _samples(card) if each.sha256 == asked.get("sha256")), None)
    if sample is None:
        raise NotFound("There is no such sample.")
    pixels = images.decode(sample.read(), max_pixels=parts().settings.max_pixels, enough=_SIDE)
    picture, stream = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    picture.save(stream, format="PNG", compress_level=1)
    return tagged(Response(stream.getvalue(), mimetype="image/png"))


def _model(models: list[ModelVersion], wanted: str | None) -> ModelVersion | None:
    """Return the model asked for, else the one of kinds, else any active one; None where none is active."""
    if wanted is None:
        return next((model for model in models if model.task != FRACTURE_TASK), models[0] if models else None)
    found = next((model for model in models if model.full_name == wanted), None)
    if found is None:
        raise NotFound(f"There is no active model {wanted!r}.")
    return found


def _samples(card: Mapping[str, Any]) -> tuple[Sample, ...]:
    folder = parts().settings.data_path
    return () if folder is None else test_samples(folder, card)


def _chosen(card: Mapping[str, Any], seed: int) -> list[Sample]:
    samples = _samples(card)
    return random.Random(seed).sample(samples, min(_SHOWN, len(samples)))  # noqa: S311 - nobody has to be surprised


def _shown(session: Session, model: ModelVersion, samples: list[Sample]) -> list[Shown]:
    results = results_of_contents(session, [sample.sha256 for sample in samples], model=model.full_name)
    return [Shown(sample, results.get(sample.sha256)) for sample in samples]
