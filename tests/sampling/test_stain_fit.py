"""Stains are found where they are known, and where there are none that is said."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import nnls

from malpighi.sampling.stain_fit import AXES, densities, fit_staining, full_basis, sparse_codes
from sampling.stained import HE, PAS, degrees, pixels, stained


@pytest.mark.parametrize("vectors", [HE, PAS], ids=["HE", "PAS"])
@pytest.mark.parametrize(("by", "within"), [("macenko", 1.5), ("vahadane", 2.0)])
def test_known_stains_are_found(by: str, within: float, vectors: np.ndarray) -> None:
    found = fit_staining(pixels(stained(vectors)), by)
    assert found.vectors is not None
    assert degrees(found.vectors, vectors).max() < within  # haematoxylin first
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


def test_a_fit_is_the_same_every_time_and_order_of_stains_does_not_depend_on_amounts() -> None:
    image = pixels(stained(HE))
    a, b = fit_staining(image, "vahadane"), fit_staining(image, "vahadane")
    np.testing.assert_array_equal(a.vectors, b.vectors)
    mostly_eosin = fit_staining(image[image[:, 0] > 120], "macenko")
    assert degrees(mostly_eosin.vectors, HE).max() < 5


@pytest.mark.parametrize("by", ["macenko", "vahadane", "reinhard"])
def test_white_grey_and_one_colour_have_no_stains(by: str) -> None:
    white = np.full((4000, 3), 250, np.uint8)
    grey = np.repeat(np.random.default_rng(0).integers(20, 200, (4000, 1)), 3, 1).astype(np.uint8)
    few = pixels(stained(HE))[:50]
    for image in (white, grey, few):
        found = fit_staining(image, by)
        assert found.vectors is None
        assert found.centre is None
        assert found.counts.sum() == image.size


@pytest.mark.parametrize("by", ["macenko", "vahadane"])
def test_one_stain_alone_is_not_taken_for_two(by: str) -> None:
    amounts = np.random.default_rng(0).uniform(0.2, 1.5, (5000, 1))
    values = 256 * np.exp(-amounts * HE[:1] / np.linalg.norm(HE[0])) - 1
    assert fit_staining(np.rint(values).astype(np.uint8), by).vectors is None


def test_reinhard_is_mean_and_deviation_of_tissue_along_orthonormal_axes() -> None:
    np.testing.assert_allclose(AXES @ AXES.T, np.eye(3), atol=1e-12)
    image = pixels(stained(HE))
    dense = densities(image)
    tissue = dense[dense.mean(1) > 0.15] @ AXES.T
    found = fit_staining(image, "reinhard")
    np.testing.assert_allclose(found.centre, tissue.mean(0))
    np.testing.assert_allclose(found.spread, tissue.std(0))


def test_codes_without_penalty_are_those_of_non_negative_least_squares() -> None:
    dense = np.random.default_rng(0).normal(0.5, 0.6, (40, 3))
    stains = full_basis(HE / np.linalg.norm(HE, axis=1, keepdims=True))[:2]
    expected = np.stack([nnls(stains.T, row)[0] for row in dense])
    np.testing.assert_allclose(sparse_codes(dense, stains, 0.0), expected, atol=1e-9)


def test_a_penalty_makes_codes_that_no_small_step_betters() -> None:
    dense = np.random.default_rng(1).normal(0.5, 0.5, (60, 3))
    stains = full_basis(PAS / np.linalg.norm(PAS, axis=1, keepdims=True))[:2]
    codes = sparse_codes(dense, stains, 0.1)

    def cost(h: np.ndarray) -> np.ndarray:
        return 0.5 * ((dense - h @ stains) ** 2).sum(1) + 0.1 * h.sum(1)

    for step in np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, -1], [-1, 1]]) * 1e-3:
        assert (cost(np.maximum(codes + step, 0)) >= cost(codes) - 1e-12).all()


@pytest.mark.parametrize("by", ["macenko", "vahadane"])
def test_stains_of_real_tissue_lie_near_those_of_the_textbook(real: Path, by: str) -> None:
    from malpighi.images import open_image
    from malpighi.sampling.stain_bank import staining_of

    angles = []
    for path in sorted((real / "kidney_structures/tuft/he/images").glob("*.png")):
        with open_image(path) as source:
            found = staining_of(source, source.space.spacing, by)
        assert found.vectors is not None
        angles.append(degrees(found.vectors, HE))
    assert np.median(angles) < 25
