import io
import json

import pytest
from full_disk import limited_files
from rich.console import Console

from manylabel.errors import RunError
from manylabel.processes import Processes
from manylabel.train import logs
from manylabel.train.logs import Reporter


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=160)


def test_the_bar_shows_title_loss_rate_and_count():
    console = terminal()
    with Reporter(console=console) as reporter:
        reporter.begin("step 1 main net", 200)
        reporter.rename("step 1 main net  epoch 2/3")
        reporter.advance(50, loss=1.25)
        reporter._bar.refresh()
        reporter.end()
    shown = console.file.getvalue()
    for words in ("step 1 main net  epoch 2/3", "loss 1.250", "images/s", "50/200"):
        assert words in shown


def test_a_nested_task_does_not_change_the_outer_count():
    with Reporter(console=terminal()) as reporter:
        reporter.begin("step", 100)
        reporter.advance(40)
        reporter.begin("looking at val", 10)
        reporter.advance(10)
        reporter.end()
        reporter.advance(20)
        (task,) = reporter._bar.tasks
        assert (task.completed, task.total) == (60, 100)
        reporter.end()
        assert not reporter._bar.tasks


def test_without_a_terminal_there_are_lines_and_no_bar():
    console = Console(file=io.StringIO(), width=80)
    with Reporter(console=console) as reporter:
        reporter.begin("step", 100)
        reporter.advance(40, loss=1.0)
        reporter.say("step 1 [main]  epoch 1/2")
        reporter.end()
    assert console.file.getvalue() == "step 1 [main]  epoch 1/2\n"


def test_events_are_appended_to_the_log(tmp_path):
    reporter = Reporter(console=terminal())
    reporter.record("before", value=0)
    reporter.log_to(tmp_path / "log.jsonl")
    reporter.record("epoch", value=1)
    reporter.record("step", value=2)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["event"], line["value"]) for line in lines] == [("epoch", 1), ("step", 2)]


def test_a_last_line_that_was_cut_short_is_removed(tmp_path):
    """What a resumed run finds after a crash or a full disk."""
    log = tmp_path / "log.jsonl"
    log.write_text('{"event": "epoch"}\n{"event": "ep')
    reporter = Reporter(console=terminal())
    reporter.log_to(log)
    reporter.record("step", value=2)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["epoch", "step"]


def test_a_log_that_cannot_be_written_is_an_error_and_stays_whole(tmp_path):
    log = tmp_path / "log.jsonl"
    reporter = Reporter(console=terminal())
    reporter.log_to(log)
    reporter.record("epoch", value=1)
    before = log.read_bytes()
    with limited_files(len(before) + 10), pytest.raises(RunError) as caught:
        reporter.record("step", value=2)
    assert caught.value.what == "The log cannot be written: No space left on device."
    assert "--resume" in caught.value.fix
    assert log.read_bytes() == before


def test_only_the_leading_process_shows_and_logs(tmp_path, monkeypatch):
    for rank, shown in ((0, True), (1, False)):
        monkeypatch.setattr(logs, "processes", lambda rank=rank: Processes(rank, 2))
        console, log = terminal(), tmp_path / f"{rank}.jsonl"
        with Reporter(console=console) as reporter:
            reporter.log_to(log)
            reporter.begin("step", 100)
            reporter.advance(40, loss=1.0)
            reporter._bar.refresh()
            reporter.say("epoch 1")
            reporter.record("epoch", value=1)
            reporter.end()
        for words in ("40/100", "epoch 1"):
            assert (words in console.file.getvalue()) == shown
        assert log.exists() == shown


def test_a_line_for_people_holds_no_character_that_a_terminal_obeys():
    console = Console(file=io.StringIO(), width=160)
    Reporter(console=console).say("photos\x1b[2J\n\u202e.csv: 3 images")
    assert console.file.getvalue() == "photos\\x1b[2J\\n\\u202e.csv: 3 images\n"


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(logs.time, "monotonic", lambda: self.now)


def test_without_a_terminal_there_is_a_line_at_least_every_half_minute(monkeypatch):
    clock = Clock(monkeypatch)
    console = Console(file=io.StringIO(), width=120)
    with Reporter(console=console) as reporter:
        reporter.begin("step 1", 1000)
        seen, longest, before = 0, 0.0, 0.0
        for _ in range(100):
            clock.now += 4
            reporter.advance(10)
            lines = console.file.getvalue().count("\n")
            if lines > seen:
                longest, before, seen = max(longest, clock.now - before), clock.now, lines
        reporter.end()
    assert seen >= 10
    assert longest <= 30
    assert "70 of 1,000 images" in console.file.getvalue()


def test_the_time_left_is_that_of_the_whole_run(monkeypatch):
    """Two steps of 100 images: after 50 of the first in 10 s, 150 are left: 30 s."""
    clock = Clock(monkeypatch)
    console = terminal()
    with Reporter(console=console) as reporter, reporter.whole(200):
        reporter.begin("step 1", 100)
        clock.now = 10
        reporter.advance(50)
        reporter._bar.refresh()
        reporter.end()
    assert "about 30 s left" in console.file.getvalue()


def test_a_part_of_the_whole_takes_its_share_of_it(monkeypatch):
    """A part of 1,000 images is 10 of 100 units. Half of it in 5 s leaves 95 units: 95 s."""
    clock = Clock(monkeypatch)
    console = terminal()
    with Reporter(console=console) as reporter, reporter.whole(100):
        reporter.share(10)
        with reporter.whole(1000):
            reporter.begin("maps", 1000)
            clock.now = 5
            reporter.advance(500)
            reporter._bar.refresh()
            reporter.end()
        assert reporter._whole.done == pytest.approx(10), "the part is over"
    assert "about 95 s left" in console.file.getvalue()
