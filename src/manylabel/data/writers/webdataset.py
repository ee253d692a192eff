"""WebDataset shards, some a split: `train-000000.tar`, with an image and a JSON a sample."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from manylabel.data.formats.truth import truth_of
from manylabel.data.readers.webdataset import SIDECAR
from manylabel.data.records import Record, Records
from manylabel.data.writers.references import Target, image_file
from manylabel.labels import LabelSpace

_SAMPLES: Final = 10_000
_BYTES: Final = 2**30
"""A shard is closed with the sample that reaches one of these."""


def write_webdataset(records: Records, target: Target) -> None:
    """Write the shards of each split, in the records' order, and all labels into `labels.json`.

    Images are copied as they are stored; crops become PNG files. The bytes of the shards depend on
    the records alone.

    Raises:
        ImageError: An image cannot be read.
        OSError: A shard cannot be written.
    """
    target.built.mkdir(parents=True)
    names = json.dumps(list(records.labels), ensure_ascii=False)
    (target.built / SIDECAR).write_text(names + "\n", encoding="utf-8")
    done = 0
    for split in (*records.split_names(), None):
        pending = [record for record in records.items if record.split == split]
        number = 0
        while pending:
            shard = target.built / f"{split or 'all'}-{number:06d}.tar"
            written = _write_shard(shard, pending, done, records.labels)
            pending = pending[written:]
            done += written
            number += 1
            target.on_progress(done)


def _write_shard(shard: Path, pending: Sequence[Record], done: int, labels: LabelSpace) -> int:
    """Write as many records as a shard holds; gives how many these are."""
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as archive:
        for count, record in enumerate(pending, start=1):
            image, ending = image_file(record.image)
            truth = json.dumps(truth_of(record, labels), ensure_ascii=False)
            # Numbered, since a key may hold dots, and the format ends a sample's name at the first.
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
