"""The one place that opens image files, with an explicit list of formats.

Without a list, Pillow would choose by the content among all formats that it knows. One of them,
EPS, starts another program that runs what is in the file.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import IO, Final

from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from manylabel.images.errors import refused
from manylabel.images.formats import HEAD_BYTES, is_heif, usual_ending
from manylabel.images.headers import require_short_header
from manylabel.images.quiet import silence_libraries

_CLASSES: Final = (
    *(JpegImageFile, PngImageFile, WebPImageFile, TiffImageFile, BmpImageFile, GifImageFile),
    *(PpmImageFile, AvifImageFile, Jpeg2KImageFile),
)
_PILLOW_FORMATS: Final = tuple(str(each.format) for each in _CLASSES)
"""Pillow's names of the formats. Their modules are imported here, since Pillow would import all of
its formats to find one that is missing. JPEG includes MPO."""


def open_header(file: IO[bytes]) -> Image.Image:
    """Opens an image file, and reads no more of it than its header.

    Args:
        file: Opened at its begin. It must stay open until the image is decoded.

    Raises:
        ImageError: It is of no format in `FORMATS`, needs a package that is not installed, or its
            header is beyond a limit of `headers.py`.
        Exception: Pillow may raise anything for a damaged file.
    """
    start = file.read(HEAD_BYTES)
    require_short_header(file, start)
    heif = is_heif(start)
    if heif:
        _add_heif()
    silence_libraries()
    return Image.open(file, formats=("HEIF",) if heif else _PILLOW_FORMATS)


def require_known(image: Image.Image) -> None:
    """Refuse an image that a caller opened with Pillow, if its format is not in `FORMATS`.

    Raises:
        ImageError: The format is another one. Decoding it could start another program.
    """
    if image.format is not None and usual_ending(image.format) is None:
        raise refused(
            f"The image is of the format {image.format}, which is not read.",
            fix="Save it as PNG.",
        )


def _add_heif() -> None:
    if find_spec("pillow_heif") is None:
        raise refused(
            "Reading a HEIF image needs pillow-heif, which is not installed.",
            fix="Install it: pip install pillow-heif.",
        )
    import pillow_heif  # pyright: ignore[reportMissingImports]

    if "HEIF" not in Image.OPEN:
        pillow_heif.register_heif_opener()
