"""What a network takes, and the words in which it refuses the rest."""

import numpy as np
import pytest

from malpighi.errors import DataError, SpacingError
from malpighi.geometry import Spacing
from malpighi.images.array import ArraySource
from malpighi.sampling.intensity import Intensity
from malpighi.tasks.run import Inputs

INTENSITY = Intensity((0.0,) * 3, (255.0,) * 3)


def _image(spacing=None, channels=3):
    return ArraySource(np.zeros((channels, 64, 64), np.uint8), spacing)


def _network(spacing):
    return Inputs(("tuft",), 3, spacing, INTENSITY)


def test_facts_come_back_equal():
    inputs = _network(Spacing.um(2.0))
    assert Inputs.from_facts(inputs.as_facts()) == inputs


def test_micrometres_and_pixels_are_told_apart_both_ways():
    with pytest.raises(SpacingError, match="--spacing"):
        _network(Spacing.um(2.0)).check(_image())
    with pytest.raises(SpacingError, match=r"--spacing px"):
        _network(Spacing.pixels(2, 2)).check(_image(Spacing.um(0.5)))


@pytest.mark.parametrize("native", [0.001, 100.0])
def test_a_pixel_size_that_cannot_be_true_is_refused_before_any_work(native):
    with pytest.raises(SpacingError, match="give the true size"):
        _network(Spacing.um(2.0)).check(_image(Spacing.um(native)))


def test_what_fits_is_taken():
    _network(Spacing.um(2.0)).check(_image(Spacing.um(0.25)))


def test_channels_are_counted():
    with pytest.raises(DataError, match="4 channels"):
        _network(Spacing.um(2.0)).check(_image(Spacing.um(0.25), channels=4))
