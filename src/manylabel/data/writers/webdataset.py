"""WebDataset shards such as `train-000000.tar`. Each sample is an image and a JSON member."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from manylabel.data.formats.truth import truth_of
from manylabel.data.readers.webdataset import SIDECAR
from manylabel.data.records import Records, split_code
from manylabel.data.writers.references import Target, image_file

_SAMPLES: Final = 10_000
_BYTES: Final = 2**30
"""The limits of a shard. It ends with the sample that reaches one of them."""


def write_webdataset(records: Records, target: Target) -> None:
    """Write the shards of each split, in the order of the records, and the labels.

    All labels are written into `labels.json`. Images are copied as they are stored. Crops become
    PNG files. The bytes of the shards depend only on the records.

    Raises:
        ImageError: An image cannot be read.
        OSError: A shard cannot be written.
    """
    target.built.mkdir(parents=True)
    names = json.dumps(list(records.labels), ensure_ascii=False)
    (target.built / SIDECAR).write_text(names + "\n", encoding="utf-8")
    done = 0
    for split in (*records.split_names(), None):
        pending = np.flatnonzero(records.splits == split_code(split))
        number = 0
        while len(pending):
            shard = target.built / f"{split or 'all'}-{number:06d}.tar"
            written = _write_shard(shard, records, pending, done)
            pending = pending[written:]
            done += written
            number += 1
            target.on_progress(done)


def _write_shard(shard: Path, records: Records, pending: NDArray[np.intp], done: int) -> int:
    """Write as many of the records at these positions as fit into a shard. Returns how many."""
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as archive:
        for count, position in enumerate(pending.tolist(), start=1):
            record = records[position]
            image, ending = image_file(record.image)
            truth = json.dumps(truth_of(record, records.labels), ensure_ascii=False)
            # Samples are numbered, because a key may contain dots. In this format, the name of a
            # sample ends at its first dot.
            name = f"{done + count - 1:08d}"
            _add(archive, f"{name}{ending}", image)
            _add(archive, f"{name}.json", truth.encode())
            if count == _SAMPLES or archive.offset >= _BYTES:
                return count
    return len(pending)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
