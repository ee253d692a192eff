"""Parts of a run whose state is saved in checkpoints. Each part has a name and two methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from manylabel.errors import CheckpointError


class Part(Protocol):
    """Something that changes during training and can be saved, for instance a torch module."""

    def state_dict(self) -> dict[str, Any]:
        """The state that `load_state_dict` needs."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Restore a saved state."""
        ...


def save_parts(parts: Mapping[str, Part]) -> dict[str, dict[str, Any]]:
    """The state of each part, by its name."""
    return {name: part.state_dict() for name, part in parts.items()}


def load_parts(parts: Mapping[str, Part], saved: Mapping[str, dict[str, Any]]) -> None:
    """Restore the saved state of each part, in the order of `parts`.

    Raises:
        CheckpointError: The saved parts have other names.
    """
    if parts.keys() != saved.keys():
        raise CheckpointError(
            f"The checkpoint holds {_names(saved)}, but this run needs {_names(parts)}.",
            where="checkpoint",
            fix="Resume with the version of manylabel that wrote the checkpoint, or start a new "
            "run in another folder.",
        )
    for name, part in parts.items():
        part.load_state_dict(saved[name])


def _names(parts: Mapping[str, object]) -> str:
    return ", ".join(parts) or "nothing"
