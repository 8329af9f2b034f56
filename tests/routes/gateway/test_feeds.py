"""A feed has the last good value, whatever its source does, and finds it again after a start without its source."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from routes.gateway.feeds import Feed


class Source:
    def __init__(self) -> None:
        self.answer: Any = {"n": 1}

    def __call__(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def build(raw: Any) -> int:
    number = raw["n"]
    if not isinstance(number, int):
        raise ValueError("n is a number")
    return number


def a_feed(source: Source, folder: Path | None = None, clock: Any = None) -> Feed[int]:
    file = None if folder is None else str(folder / "kept" / "thing.json")
    return Feed("things", source, build, poll_seconds=60, file=file, clock=clock or (lambda: 5.0))


@pytest.mark.parametrize("bad", [OSError("down"), {"n": "x"}, {}, [], "text"])
def test_the_last_good_value_stands_whatever_comes(bad: Any) -> None:
    source = Source()
    feed = a_feed(source)
    assert feed.value is None
    assert feed.read_once()
    source.answer = bad
    assert not feed.read_once()
    assert feed.value == 1
    assert feed.status()["last_error"]
    source.answer = {"n": 2}
    assert feed.read_once()
    assert feed.value == 2
    assert feed.status()["last_error"] is None


def test_what_has_not_changed_is_an_answer_without_a_value() -> None:
    source = Source()
    feed = a_feed(source)
    feed.read_once()
    source.answer = None
    assert feed.read_once()
    assert feed.value == 1


def test_its_age_is_since_the_source_last_answered() -> None:
    source, now = Source(), [100.0]
    feed = a_feed(source, clock=lambda: now[0])
    assert feed.status()["age_seconds"] is None
    feed.read_once()
    now[0] = 103.5
    source.answer = OSError("down")
    feed.read_once()
    assert feed.status()["age_seconds"] == 3.5


def test_a_start_without_the_source_finds_what_was_kept(tmp_path: Path) -> None:
    a_feed(Source(), tmp_path).read_once()
    source = Source()
    source.answer = OSError("down")
    feed = a_feed(source, tmp_path)
    feed.start()
    feed.stop()
    assert feed.value == 1
    assert feed.status()["from_disk"] is True
    source.answer = {"n": 2}
    feed.read_once()
    assert (feed.value, feed.status()["from_disk"]) == (2, False)


@pytest.mark.parametrize("damage", [b"", b"x", b"{}", None])
def test_a_file_that_was_damaged_is_as_good_as_none(tmp_path: Path, damage: bytes | None) -> None:
    a_feed(Source(), tmp_path).read_once()
    file = tmp_path / "kept" / "thing.json"
    whole = file.read_bytes()
    assert json.loads(whole.partition(b"\n")[2]) == {"n": 1}
    file.write_bytes(whole.replace(b"1}", b"7}") if damage is None else damage)
    source = Source()
    source.answer = OSError("down")
    feed = a_feed(source, tmp_path)
    feed.start()
    feed.stop()
    assert feed.value is None


def test_what_is_kept_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    a_feed(Source(), tmp_path).read_once()
    file = tmp_path / "kept" / "thing.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_is_told_and_harms_nothing(tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "kept").write_text("a file in its place")
    feed = a_feed(Source(), tmp_path)
    assert feed.read_once()
    assert feed.value == 1
    assert "cannot be kept on disk" in caplog.text


def test_an_outage_is_told_once_and_so_is_its_end(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    source = Source()
    feed = a_feed(source)
    source.answer = OSError("down")
    for _ in range(5):
        feed.read_once()
    source.answer = {"n": 1}
    feed.read_once()
    assert [record.message for record in caplog.records] == [
        "things cannot be read; the last one stands: OSError: down",
        "things is read again",
    ]


def test_it_reads_again_by_itself() -> None:
    source = Source()
    feed = Feed("things", source, build, poll_seconds=0.01)
    feed.start()
    source.answer = {"n": 3}
    for _ in range(500):
        if feed.value == 3:
            break
        assert feed._thread is not None
        feed._thread.join(0.01)
    feed.stop()
    assert feed.value == 3
    assert feed._thread is not None
    feed._thread.join(5)
    assert not feed._thread.is_alive()
