"""Reads masks: image files whose pixels are numbers of classes, not colours."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.images.decoding import image_errors
from manylabel.images.errors import refused
from manylabel.images.limits import decoded_bytes, require_memory, require_size
from manylabel.images.opening import open_header
from manylabel.images.places import file_bytes
from manylabel.images.quiet import QUIET

_NUMBERS: Final = frozenset({"1", "L", "P", "I;16", "I;16B", "I;16L"})
"""Pillow's modes in which a pixel is one whole number. That of a palette is its position there."""

_LOSSY: Final = frozenset({"JPEG", "MPO"})


def load_classes(path: Path) -> NDArray[np.unsignedinteger]:
    """The class of each pixel of a mask, unsigned integers [H, W].

    A palette only says how classes are shown. The classes are the positions in it.

    Raises:
        ImageError: The file cannot be read as an image, has colours, or is a JPEG, which changes
            numbers.
    """
    with image_errors(str(path)), QUIET:
        data = file_bytes(path)
        mask = open_header(io.BytesIO(data))
        require_size(*mask.size)
        if mask.mode not in _NUMBERS or mask.format in _LOSSY:
            raise refused(
                f"The mask is a {mask.format} of mode {mask.mode}, which does not hold numbers of "
                "classes.",
                fix="Save it as a PNG with one channel, whose pixels are numbers of classes.",
            )
        require_memory(decoded_bytes(mask, data))
        mask.load()
        found = np.asarray(mask)
        return found.astype(np.uint8 if found.dtype.itemsize == 1 else np.uint16)
