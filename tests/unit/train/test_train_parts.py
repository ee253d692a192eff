import pytest

from manylabel.errors import CheckpointError
from manylabel.train.parts import load_parts, save_parts


class Counter:
    """The smallest part: a number."""

    def __init__(self, value=0):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state_dict):
        self.value = state_dict["value"]


def test_each_part_gets_its_own_state():
    saved = save_parts({"averaged": Counter(3), "accumulated": Counter(5)})
    assert saved == {"averaged": {"value": 3}, "accumulated": {"value": 5}}
    parts = {"accumulated": Counter(), "averaged": Counter()}
    load_parts(parts, saved)
    assert (parts["averaged"].value, parts["accumulated"].value) == (3, 5)


@pytest.mark.parametrize("names", [(), ("averaged",), ("averaged", "scaler", "other")])
def test_a_checkpoint_of_other_parts_is_refused(names):
    parts = {"averaged": Counter(1), "scaler": Counter(2)}
    with pytest.raises(CheckpointError, match="this run needs averaged, scaler") as error:
        load_parts(parts, {name: {"value": 7} for name in names})
    assert (", ".join(names) or "nothing") in error.value.what
    assert [part.value for part in parts.values()] == [1, 2], "nothing was loaded"
