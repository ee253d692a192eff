"""timm's pre-trained weights on the Hugging Face Hub: whether they are here, and how they come.

The hub's client asks six times for each of two files before it gives up, which takes about a
minute, and reports each attempt. Here the hub is asked once or twice before timm is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import timm
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, OfflineModeIsEnabled

from manylabel.errors import ConfigError, reason
from manylabel.models.packaged import offer

_FILES: Final = ("model.safetensors", "pytorch_model.bin")
"""The files in which timm looks for weights, in its order."""
_SECONDS: Final = 5.0
"""How long one request may take. A failure that comes faster is worth a second request."""
_PAUSE: Final = 1.0
"""Seconds between the two requests."""

Built = TypeVar("Built")


def tagged(name: str) -> str:
    """The name with the tag of the weights that timm takes: `resnet50` is `resnet50.a1_in1k`."""
    settings = timm.get_pretrained_cfg(name, allow_unregistered=False)
    tag = None if settings is None else settings.tag
    return f"{name.split('.')[0]}.{tag}" if tag else name


def is_cached(name: str) -> bool:
    """Whether timm's weights of `name` were downloaded already."""
    place = _place(name)
    if place is None:
        return False
    repository, file = place
    files = (file,) if file else _FILES
    return any(isinstance(try_to_load_from_cache(repository, each), str) for each in files)


def with_downloads(name: str, build: Callable[[], Built]) -> Built:
    """What `build` returns, which lets timm load the weights of `name`.

    If they are not here and the hub does not answer, it fails within seconds. What the hub's
    client says of its attempts is not printed; the progress of a download is.

    Raises:
        ConfigError: timm has no weights of the model, or they cannot be downloaded or loaded.
    """
    settings = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if settings is None or not settings.has_weights:
        raise not_loaded(name, "timm has none")
    with _quiet():
        if not is_cached(name):
            _require_answer(name)
        try:
            return build()
        except Exception as error:  # what it raises depends on the client of the hub
            raise not_loaded(name, reason(error)) from None


def not_loaded(name: str, fault: str) -> ConfigError:
    """The error for weights that are not here: what else the user can do, the easiest first."""
    return ConfigError(
        f"The pre-trained weights of '{name}' cannot be loaded: {fault}.",
        where="backbone.pretrained",
        fix=f"{offer(name)} Or give a file: --backbone-weights FILE. Or start without "
        "pre-training, which needs many more images: --set backbone.pretrained=false.",
    )


def _require_answer(name: str) -> None:
    """Check that the hub answers.

    Raises:
        ConfigError: It does not, or it refuses.
    """
    place = _place(name)
    if place is None:  # from another address
        return
    repository, file = place
    began = time.monotonic()
    fault = _fault(repository, file or _FILES[0])
    if fault is not None and time.monotonic() - began < _SECONDS:
        time.sleep(_PAUSE)
        fault = _fault(repository, file or _FILES[0])
    if fault is not None:
        raise not_loaded(name, fault)


def _fault(repository: str, file: str) -> str | None:
    """Why the hub does not give a file; None if it does, or has it under another name."""
    try:
        get_hf_file_metadata(hf_hub_url(repository, file), timeout=_SECONDS)
    except EntryNotFoundError:
        return None
    except OfflineModeIsEnabled:
        return (
            "they are not in the cache, and the Hugging Face Hub is switched off (HF_HUB_OFFLINE)"
        )
    except GatedRepoError:
        return (
            f"the Hugging Face Hub wants you to accept the terms of {repository} and to log in "
            "(hf auth login)"
        )
    except Exception as error:  # what it raises depends on the client of the hub
        return f"the Hugging Face Hub does not give them ({reason(error)})"
    return None


def _place(name: str) -> tuple[str, str | None] | None:
    """The repository of timm's weights on the hub, and the file if it has a name of its own."""
    settings = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if settings is None or not settings.hf_hub_id:
        return None
    return settings.hf_hub_id, settings.hf_hub_filename


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the hub's client reports of its attempts: our error says what matters."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
