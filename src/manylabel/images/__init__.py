"""Images: where they are stored, and how they become upright RGB with 8 bits per channel.

`places.py` says where an image can be stored, and reads its file. `formats.py` lists the formats.
`opening.py` is the only place that opens image files, and `headers.py` refuses those that are slow
to open. `limits.py` computes what decoding needs, and refuses too much; `memory.py` shares memory
among threads. `decoding.py` puts these together, `jpeg.py` is its fast way for ordinary JPEGs, and
`greys.py` makes 8 bits of other greys. `arrays.py` makes images of arrays and tensors.
`jpeg2000.py` reads what such an image needs, and `quiet.py` silences what libraries print.
"""

from manylabel.images.decoding import (
    Header,
    image_errors,
    load_rgb,
    open_image,
    prepared,
    read_header,
    rgb_pixels,
)
from manylabel.images.formats import (
    ENDINGS,
    FORMATS,
    HEAD_BYTES,
    begins_like_image,
    has_image_ending,
    usual_ending,
)
from manylabel.images.limits import MAX_FILE, MAX_MEMORY, MAX_PIXELS, MAX_SIDE, MIN_SIDE
from manylabel.images.memory import Memory, free_memory_share, own_bytes, parse_size
from manylabel.images.places import Crop, FilePart, ImageSource, Place, Stored, identity

__all__ = [
    "ENDINGS",
    "FORMATS",
    "HEAD_BYTES",
    "MAX_FILE",
    "MAX_MEMORY",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MIN_SIDE",
    "Crop",
    "FilePart",
    "Header",
    "ImageSource",
    "Memory",
    "Place",
    "Stored",
    "begins_like_image",
    "free_memory_share",
    "has_image_ending",
    "identity",
    "image_errors",
    "load_rgb",
    "open_image",
    "own_bytes",
    "parse_size",
    "prepared",
    "read_header",
    "rgb_pixels",
    "usual_ending",
]
