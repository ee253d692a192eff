"""Files that no image may be: each must become the error of that image alone."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n{} loop\n"


def hostile_images(folder: Path) -> dict[Path, str]:
    """Writes the files to `folder`. Returns for each what its error says."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "postscript.jpg": (POSTSCRIPT, "not an image that can be read"),
        "wide.png": (_png(2, 80_000_000), "2x80000000 pixels"),
        "bomb.png": (_png(13_000, 13_000), "MB of memory"),
        "empty.jpg": (b"", "empty"),
    }
    said = {}
    for name, (content, what) in contents.items():
        (folder / name).write_bytes(content)
        said[folder / name] = what
    with (folder / "sparse.jpg").open("wb") as file:
        file.truncate(100 * 10**9)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    return said | {
        folder / "sparse.jpg": "100,000 MB",
        folder / "pipe.jpg": "not an ordinary file",
        folder / "endless.jpg": "not an ordinary file",
    }


def _png(width: int, height: int) -> bytes:
    """A grey PNG of one row of zeros that says it is larger."""
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(width + 1)),
    }
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
