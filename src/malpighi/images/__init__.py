"""Images of any size behind one contract, `Source`; one driver a file; `open_image` finds the driver."""

from malpighi.images.base import Damage, Source

__all__ = ["Damage", "Source"]
