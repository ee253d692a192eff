"""timm's weights on the hub: quick and quiet where there are none, untouched where there are."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants as constants
import pytest
import timm
import torch
from safetensors.torch import save

from manylabel.errors import ConfigError
from manylabel.models import hub
from manylabel.models.backbones import Backbone, BackboneConfig
from manylabel.models.hub import is_cached, tagged, with_downloads

NAME = "test_resnet.r160_in1k"
REPOSITORY = "timm/test_resnet.r160_in1k"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub, and one second at most for a request."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(hub, "_SECONDS", 1.0)
    monkeypatch.setattr(hub, "_PAUSE", 0.1)
    return cache


def point_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let the client of the hub ask another address."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


class Hub:
    """A hub on this machine that gives one file, or one error for all."""

    def __init__(self, content: bytes = b"", status: int = 200) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Answer(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                asked.append(f"{self.command} {self.path}")
                found = status if self.path.endswith("model.safetensors") or status != 200 else 404
                self.send_response(found)
                if found == 404:
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("ETag", '"abc"')
                self.send_header("Content-Length", str(len(content) if found == 200 else 0))
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    started = []

    def serve(**given: Any) -> Hub:
        started.append(Hub(**given))
        point_to(monkeypatch, started[-1].address)
        return started[-1]

    yield serve
    for each in started:
        each.server.shutdown()
        each.server.server_close()


def refused(name: str = NAME) -> tuple[ConfigError, float]:
    began = time.monotonic()
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        Backbone(BackboneConfig(name=name))
    return caught.value, time.monotonic() - began


# ---- a hub that cannot be reached -------------------------------------------------------------


def test_nobody_answers_and_nothing_is_printed(monkeypatch, capfd, caplog):
    """Within seconds; the client of the hub alone would take 46 seconds and print 24 lines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        point_to(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
    error, seconds = refused()
    assert seconds < 5
    assert "the Hugging Face Hub does not give them" in error.what
    assert "\n" not in error.what
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_hub_that_takes_the_call_and_says_nothing(monkeypatch):
    """It is asked once: its silence took all of the time."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        point_to(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        _, seconds = refused()
    assert seconds < 5


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_hub_that_refuses(serve, status):
    asked = serve(status=status).asked
    error, seconds = refused()
    assert seconds < 5
    assert str(status) in error.what or "Repository Not Found" in error.what
    # huggingface_hub also asks once a process for something else.
    assert len([each for each in asked if "test_resnet" in each]) == 2


def test_a_hub_that_is_switched_off():
    """Tests run with HF_HUB_OFFLINE."""
    error, _ = refused()
    assert "HF_HUB_OFFLINE" in error.what


def test_the_ways_out_in_their_order():
    fix = refused()[0].fix
    ways = [
        "--set backbone.name=tf_efficientnet_lite0 --backbone-weights package",
        "--backbone-weights FILE",
        "--set backbone.pretrained=false",
    ]
    assert [fix.index(way) for way in ways] == sorted(fix.index(way) for way in ways)


def test_a_model_without_weights_of_timm(monkeypatch):
    monkeypatch.setattr(hub, "_fault", lambda *_: pytest.fail("the hub was asked"))
    without = next(
        name
        for name in timm.list_models("resnet*")
        if not getattr(timm.get_pretrained_cfg(name), "has_weights", False)
    )
    error, _ = refused(without)
    assert "timm has none" in error.what


# ---- a hub that answers -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.Tensor]:
    """What the hub has: other tensors than those of a new model, with a classifier."""
    state = timm.create_model("test_resnet", pretrained=False).state_dict()
    return {key: value + 1 for key, value in state.items()}


def test_weights_are_downloaded_once_and_then_found(serve, trained, own_cache):
    hub = serve(content=save(trained))

    def downloads() -> int:
        return sum(line.startswith("GET") and "test_resnet" in line for line in hub.asked)

    assert not is_cached(NAME)
    loaded = Backbone(BackboneConfig(name=NAME)).model.state_dict()
    assert all(torch.equal(value, trained[key]) for key, value in loaded.items())
    assert is_cached(NAME)
    assert is_cached("test_resnet")
    assert downloads() == 1
    Backbone(BackboneConfig(name=NAME))
    assert downloads() == 1


def test_what_is_in_the_cache_needs_no_hub(serve, trained, monkeypatch):
    serve(content=save(trained))
    Backbone(BackboneConfig(name=NAME))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        point_to(monkeypatch, f"http://127.0.0.1:{free.getsockname()[1]}")
    began = time.monotonic()
    loaded = Backbone(BackboneConfig(name=NAME)).model.state_dict()
    assert time.monotonic() - began < 5
    assert all(torch.equal(value, trained[key]) for key, value in loaded.items())


def test_a_damaged_download_is_no_traceback(serve):
    serve(content=b"<html>not weights</html>")
    error, _ = refused()
    assert error.where == "backbone.pretrained"


@pytest.mark.parametrize(
    "error",
    [OSError("no.\nMore."), RuntimeError("no"), OSError(), Exception("a client's own")],
    ids=repr,
)
def test_whatever_the_client_raises_is_worded(monkeypatch, error):
    def fail() -> None:
        raise error

    monkeypatch.setattr(hub, "is_cached", lambda _: True)
    with pytest.raises(ConfigError, match=r"cannot be loaded: \S") as caught:
        with_downloads(NAME, fail)
    assert "\n" not in caught.value.what


def test_the_level_of_the_log_is_put_back(monkeypatch):
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    monkeypatch.setattr(hub, "is_cached", lambda _: True)
    assert with_downloads(NAME, lambda: logger.level) == logging.ERROR
    assert logger.level == before


def test_the_tag_that_timm_takes():
    assert tagged("test_resnet") == NAME
    assert tagged(NAME) == NAME
    assert tagged("resnet50.a1_in1k") == "resnet50.a1_in1k"
