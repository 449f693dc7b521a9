"""The arithmetic behind near-duplicates, written with numpy, is that of a well-known library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from core.near_duplicates import SIDE, _blurred, find_near_duplicates, perceptual_hashes, upright_hashes


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (5, SIDE, SIDE)).astype(np.uint8)


@pytest.mark.parametrize("sigma", [1.2, 1.6])
def test_a_blur_is_scipys(noise: np.ndarray, sigma: float) -> None:
    pictures = noise.astype(np.float32)
    np.testing.assert_allclose(
        _blurred(pictures, sigma), gaussian_filter(pictures, (0, sigma, sigma), mode="nearest"), atol=1e-3
    )


def test_a_hash_is_the_sign_of_scipys_slowest_waves(noise: np.ndarray) -> None:
    small = noise.reshape(-1, 32, 3, 32, 3).mean(axis=(2, 4))
    low = dctn(small, axes=(1, 2))[:, :8, :8].reshape(5, 64)
    bits = np.packbits(low > np.median(low[:, 1:], axis=1, keepdims=True), axis=1).view(np.uint64)[:, 0]
    assert (perceptual_hashes(noise)[0] == bits).all()


def test_the_upright_hash_is_the_first_of_the_eight(noise: np.ndarray) -> None:
    assert (upright_hashes(noise) == perceptual_hashes(noise)[0]).all()


def test_noise_is_like_no_other_noise(noise: np.ndarray) -> None:
    assert find_near_duplicates(noise) == []
