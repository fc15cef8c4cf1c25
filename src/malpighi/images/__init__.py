"""Images of any size behind one contract, `Source`; one driver a file; `open_image` finds the driver."""

from malpighi.images.base import Damage, Source
from malpighi.images.open import IMAGE_SUFFIXES, is_image, open_image

__all__ = ["IMAGE_SUFFIXES", "Damage", "Source", "is_image", "open_image"]
