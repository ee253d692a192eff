"""What the tests share that feed readers with damaged files."""

from hypothesis import settings
from hypothesis import strategies as st

from manylabel.data.records import Records
from manylabel.errors import DataError

quick = settings(max_examples=150, deadline=None, database=None, derandomize=True)


def mutated(original: bytes):
    """The bytes with a few replaced or put in, then cut short."""
    place = st.integers(0, len(original) - 1)
    # Half of the bytes are ones that mean something to the formats.
    byte = st.sampled_from(b'012-,;|\t"\r\n <>/&\\[]{}:%?e.\x00\xff') | st.integers(0, 255)
    edits = st.lists(st.tuples(place, byte, st.booleans()), max_size=4)

    def apply(edits, end):
        content = bytearray(original)
        for at, value, insert in edits:
            content[at : at + (not insert)] = bytes([value])
        return bytes(content[:end])

    return st.builds(apply, edits, place | st.none())


def reads_or_tells(reader, path) -> Records | None:
    """The records, sound in every part, or None if the reader said what is wrong."""
    try:
        records = reader(path)
    except DataError:
        return None
    assert isinstance(records, Records)
    assert len(records) > 0
    assert len(set(records.keys)) == len(records)
    assert set(records.targets.flatten().tolist()) <= {-1, 0, 1}
    assert records.targets.shape == (len(records), len(records.labels))
    for record in records:
        for box in record.boxes:
            assert box.label in records.labels
            assert 0 <= box.left < box.right <= 1
            assert 0 <= box.top < box.bottom <= 1
    return records
