"""`Snapshots`: whole generations on disk, whatever happens in between."""

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from routes.engine import disk
from routes.engine.disk import Snapshots
from tests.routes.engine.build import ORG, OTHER_ORG, document, raw_route


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var" / "snapshots"


@pytest.fixture
def snapshots(folder: Path) -> Snapshots:
    return Snapshots(folder)


def publish(snapshots: Snapshots, *versions: int, org_id: str = ORG) -> None:
    for version in versions:
        snapshots.write(document(raw_route(version), org_id=org_id, version=version))


def files(folder: Path, org_id: str = ORG) -> list[str]:
    return sorted(path.name for path in (folder / org_id).iterdir())


def version_read(snapshots: Snapshots, org_id: str = ORG) -> int | None:
    engine, _ = snapshots.read(org_id)
    return None if engine is None else engine.version


def test_a_document_is_read_as_it_was_written(snapshots: Snapshots) -> None:
    published = document(raw_route(1), raw_route(2), version=7)
    snapshots.write(published)
    engine, problems = snapshots.read(ORG)
    assert engine is not None
    assert (engine.org_id, engine.version, engine.digest) == (ORG, 7, published.digest)
    assert [route.name for route in engine.routes] == ["route 1", "route 2"]
    assert problems == []
    assert snapshots.read(OTHER_ORG) == (None, [])


def test_a_file_is_a_line_with_the_checksum_and_the_canonical_bytes(snapshots: Snapshots, folder: Path) -> None:
    published = document(raw_route(1), version=7)
    snapshots.write(published)
    header, _, body = (folder / ORG / "7.snapshot").read_bytes().partition(b"\n")
    assert body == published.to_bytes()
    assert header.decode() == f"routing-snapshot 1 sha256:{hashlib.sha256(body).hexdigest()}"


def test_three_generations_of_each_organisation_are_kept(snapshots: Snapshots, folder: Path) -> None:
    publish(snapshots, 1, 2, 9, 10, 11)
    publish(snapshots, 5, org_id=OTHER_ORG)
    assert files(folder) == ["10.snapshot", "11.snapshot", "9.snapshot"]
    assert files(folder, OTHER_ORG) == ["5.snapshot"]
    assert (version_read(snapshots), version_read(snapshots, OTHER_ORG)) == (11, 5)


def test_an_older_version_that_is_written_late_stands_back(snapshots: Snapshots, folder: Path) -> None:
    publish(snapshots, 4, 6, 7, 5)
    assert files(folder) == ["5.snapshot", "6.snapshot", "7.snapshot"]
    assert version_read(snapshots) == 7


def test_everything_is_for_the_owner_alone(snapshots: Snapshots, folder: Path) -> None:
    before = os.umask(0)
    try:
        publish(snapshots, 1)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / ORG)] == [0o700, 0o700]
    assert stat.S_IMODE((folder / ORG / "1.snapshot").stat().st_mode) == 0o600


def test_a_folder_of_ours_that_others_may_read_is_closed_to_them(snapshots: Snapshots, folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    publish(snapshots, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) != 0o700  # only what was named


def test_what_is_there_already_is_not_written_again(snapshots: Snapshots, folder: Path) -> None:
    publish(snapshots, 1)
    before = (folder / ORG / "1.snapshot").stat()
    publish(snapshots, 1)
    after = (folder / ORG / "1.snapshot").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_publication_of_the_same_version_takes_its_place(snapshots: Snapshots) -> None:
    publish(snapshots, 1)
    other = document(raw_route(9), version=1)
    snapshots.write(other)
    engine, _ = snapshots.read(ORG)
    assert engine is not None
    assert engine.digest == other.digest


# --- Damage -----------------------------------------------------------------------------------------------------------

SPOILED = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "cut in the header": lambda data: data[:40],
    "something follows": lambda data: data + b"\n",
    "zeros": lambda data: bytes(len(data)),
    "a bit of the document": lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
    "a bit of the checksum": lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:],
    "another format": lambda data: data.replace(b"snapshot 1 ", b"snapshot 2 "),
    "no JSON": lambda data: whole(b"{"),
    "too new": lambda data: whole(data.partition(b"\n")[2].replace(b'"schema":1', b'"schema":99')),
    "another version": lambda data: whole(document(raw_route(3), version=4).to_bytes()),
    "another organisation": lambda data: whole(document(raw_route(3), org_id=OTHER_ORG, version=3).to_bytes()),
}


def whole(body: bytes) -> bytes:
    return f"routing-snapshot 1 sha256:{hashlib.sha256(body).hexdigest()}\n".encode() + body


@pytest.mark.parametrize("how", SPOILED)
def test_a_damaged_generation_is_passed_over_and_named(snapshots: Snapshots, folder: Path, how: str) -> None:
    publish(snapshots, 1, 2, 3)
    newest = folder / ORG / "3.snapshot"
    newest.write_bytes(SPOILED[how](newest.read_bytes()))
    engine, problems = snapshots.read(ORG)
    assert engine is not None
    assert engine.version == 2
    assert len(problems) == 1
    assert f"{ORG}, version 3" in problems[0]


def test_every_single_flipped_byte_is_noticed(snapshots: Snapshots, folder: Path) -> None:
    publish(snapshots, 1, 2)
    newest = folder / ORG / "2.snapshot"
    good = newest.read_bytes()
    for place in range(0, len(good), 7):
        newest.write_bytes(good[:place] + bytes([good[place] ^ 0x20]) + good[place + 1 :])
        assert version_read(snapshots) == 1, place


def test_where_all_are_damaged_there_is_nothing(snapshots: Snapshots, folder: Path) -> None:
    publish(snapshots, 1, 2, 3)
    for path in (folder / ORG).iterdir():
        path.write_bytes(b"")
    engine, problems = snapshots.read(ORG)
    assert engine is None
    assert len(problems) == 3


def test_damaged_files_take_no_place_from_good_ones(snapshots: Snapshots, folder: Path) -> None:
    publish(snapshots, 1, 2)
    for version in (97, 98, 99):
        (folder / ORG / f"{version}.snapshot").write_bytes(b"damaged")
    publish(snapshots, 3)
    assert files(folder) == ["1.snapshot", "2.snapshot", "3.snapshot"]


def test_a_damaged_file_of_the_same_version_is_written_anew(snapshots: Snapshots, folder: Path) -> None:
    publish(snapshots, 1)
    (folder / ORG / "1.snapshot").write_bytes(b"damaged")
    publish(snapshots, 1)
    assert version_read(snapshots) == 1


def test_other_files_in_the_folder_are_left_alone(snapshots: Snapshots, folder: Path) -> None:
    publish(snapshots, 1)
    for name in ("README", "x.snapshot", "-1.snapshot", "1.snapshot.bak", "９.snapshot"):
        (folder / ORG / name).write_bytes(b"not ours")
    (folder / ORG / "50.snapshot").mkdir()
    os.mkfifo(folder / ORG / "49.snapshot")
    assert version_read(snapshots) == 1
    (folder / ORG / "50.snapshot").rmdir()
    publish(snapshots, 2, 3, 4)
    assert {"README", "x.snapshot", "-1.snapshot", "1.snapshot.bak", "９.snapshot"} <= set(files(folder))
    assert version_read(snapshots) == 4


# --- Half-done --------------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is done to files, in order."""
    done: list[str] = []

    def watch(name: str) -> None:
        original = getattr(os, name)

        def call(*args: object, **options: object) -> object:
            if name == "fsync":
                done.append("fsync folder" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else "fsync file")  # type: ignore[call-overload]
            else:
                done.append(name)
            return original(*args, **options)

        monkeypatch.setattr(disk.os, name, call)

    for name in ("fsync", "replace", "remove", "write"):
        watch(name)
    yield done
    monkeypatch.undo()


def test_a_name_stands_for_what_is_on_the_disk_already(snapshots: Snapshots, calls: list[str]) -> None:
    publish(snapshots, 1)
    calls.clear()
    publish(snapshots, 2)
    assert calls == ["write", "fsync file", "replace", "fsync folder"]
    publish(snapshots, 3)
    calls.clear()
    publish(snapshots, 4)
    assert calls == ["write", "fsync file", "replace", "fsync folder", "remove"]  # the old goes when the new is safe


def test_a_new_folder_is_made_to_last_too(snapshots: Snapshots, calls: list[str]) -> None:
    publish(snapshots, 1)
    assert calls[:2] == ["fsync folder", "fsync folder"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
def test_a_write_that_fails_leaves_the_generations_as_they_were(
    snapshots: Snapshots, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    publish(snapshots, 1, 2)
    with monkeypatch.context() as patched:

        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched.setattr(disk.os, call, fail)
        with pytest.raises(OSError, match="No space"):
            publish(snapshots, 3)
    assert files(folder) == ["1.snapshot", "2.snapshot"]
    assert version_read(snapshots) == 2


def test_a_disk_that_takes_a_file_in_pieces_gets_all_of_it(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(disk.os, "write", lambda file, data: write(file, data[:100]))
    publish(snapshots, 1)
    monkeypatch.undo()
    assert version_read(snapshots) == 1


def test_what_a_killed_process_left_unfinished_is_removed_and_what_another_writes_now_is_not(
    snapshots: Snapshots, folder: Path
) -> None:
    publish(snapshots, 1)
    old, young = folder / ORG / ".1.snapshot.aa.tmp", folder / ORG / ".1.snapshot.bb.tmp"
    for path in (old, young):
        path.write_bytes(b"unfinished")
    os.utime(old, (time.time() - 7200,) * 2)
    assert version_read(snapshots) == 1
    publish(snapshots, 2)
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("what", ["a file in its place", "a file in place of its parent"])
def test_a_folder_that_cannot_be_is_an_os_error(snapshots: Snapshots, folder: Path, what: str) -> None:
    place = folder if what == "a file in its place" else folder.parent
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"")
    with pytest.raises(OSError):
        publish(snapshots, 1)
    with pytest.raises(OSError):
        snapshots.read(ORG)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_two_processes_may_share_the_folder(folder: Path) -> None:
    orders = [(1, 2, 3, 4, 5), (1, 3, 5)]
    children = []
    for order in orders:
        child = os.fork()
        if child == 0:
            good = False
            try:
                for _ in range(20):
                    publish(Snapshots(folder), *order)
                good = True
            finally:
                os._exit(0 if good else 1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert version_read(Snapshots(folder)) == 5
    assert len(files(folder)) == 3
