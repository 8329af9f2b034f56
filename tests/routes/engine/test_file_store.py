"""`FileStore`: documents as files, and every way in which a folder or a file can be wrong."""

import errno
import os
import threading
from pathlib import Path

import pytest

from routes.engine import Document, EngineCache, RequestContext, Store
from routes.engine.errors import DocumentRejected, ManagementUnsupported, StoreUnavailable
from routes.engine.filestore import FileStore
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route, route_id

ONE, TWO = document(raw_route(1), version=1), document(raw_route(2), version=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / f"{ORG}.json").write_bytes(ONE.to_bytes())
    (tmp_path / f"{OTHER_ORG}.json").write_bytes(document(org_id=OTHER_ORG, version=7).to_bytes())
    return tmp_path


@pytest.fixture
def store(folder: Path) -> FileStore:
    return FileStore(folder)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of files are trusted at once, as if every change were long ago."""
    monkeypatch.setattr("routes.engine.filestore._UNSETTLED_NS", -(10**18))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were opened for their content."""
    from routes.engine import filestore

    seen: list[str] = []
    content = filestore.read_file

    def counting(path: str, most: int) -> object:
        seen.append(os.path.basename(path))
        return content(path, most)

    monkeypatch.setattr(filestore, "read_file", counting)
    return seen


def test_versions_and_documents_come_from_the_files(store: FileStore) -> None:
    reading: Store = store
    assert reading.versions([ORG, OTHER_ORG, route_id(99)]) == {ORG: 1, OTHER_ORG: 7}
    assert reading.versions([]) == {}
    assert reading.fetch(ORG) == ONE
    assert reading.fetch(ORG.replace("-", "").upper()) == ONE
    assert reading.fetch(route_id(99)) is None


@pytest.mark.usefixtures("settled")
def test_what_looks_the_same_is_not_read_again_and_a_change_is_read_once(
    folder: Path, store: FileStore, reads: list[str]
) -> None:
    store.versions([ORG])
    store.fetch(ORG)
    for _ in range(3):
        assert store.versions([ORG]) == {ORG: 1}
    assert reads == [f"{ORG}.json"]
    FileStore(folder).write(TWO)
    assert store.versions([ORG]) == {ORG: 2}
    assert store.fetch(ORG) == TWO
    assert reads == [f"{ORG}.json"] * 2


def rewritten(path: Path) -> None:
    path.write_bytes(TWO.to_bytes())


def replaced(path: Path) -> None:
    path.with_suffix(".new").write_bytes(TWO.to_bytes())
    os.replace(path.with_suffix(".new"), path)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [rewritten, replaced])
def test_a_change_that_leaves_size_and_time_as_they_were_is_noticed(folder: Path, store: FileStore, change) -> None:
    path = folder / f"{ORG}.json"
    assert len(ONE.to_bytes()) == len(TWO.to_bytes())
    store.versions([ORG])
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert store.versions([ORG]) == {ORG: 2}
    assert store.fetch(ORG) == TWO


def test_two_changes_within_one_tick_of_a_coarse_clock_are_both_noticed(
    folder: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from routes.engine import filestore

    of = filestore._State.of.__func__
    monkeypatch.setattr(
        filestore._State,
        "of",  # a file system that counts in whole hours: old and new look the same
        classmethod(lambda cls, stat: of(cls, stat)._replace(modified_ns=2**62, changed_ns=2**62, inode=1)),
    )
    assert store.versions([ORG]) == {ORG: 1}
    rewritten(folder / f"{ORG}.json")
    assert store.versions([ORG]) == {ORG: 2}
    rewritten(folder / f"{ORG}.json")
    assert store.fetch(ORG) == TWO


def test_documents_that_nobody_fetches_do_not_pile_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.engine.filestore._MAX_KEPT", 3)
    orgs = [route_id(n) for n in range(10)]
    store = FileStore(folder)
    for org_id in orgs:
        store.write(document(org_id=org_id))
    assert store.versions(orgs) == dict.fromkeys(orgs, 1)
    assert len(store._kept) <= 3
    assert [found.org_id for org_id in orgs if (found := store.fetch(org_id))] == orgs


def test_a_fetch_answers_with_what_is_there_then(folder: Path, store: FileStore) -> None:
    store.versions([ORG])
    store.write(TWO)
    assert store.fetch(ORG) == TWO
    os.remove(folder / f"{ORG}.json")
    assert store.fetch(ORG) is None
    assert store.versions([ORG, OTHER_ORG]) == {OTHER_ORG: 7}


def test_a_cache_in_front_sees_a_new_file(store: FileStore) -> None:
    with EngineCache(store, poll_seconds=0.02) as cache:
        assert cache.engine_for(ORG).decide(RequestContext("m")).version == 1
        store.write(TWO)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_links_as_container_platforms_mount_them_are_followed(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    for name, content in (("first", ONE), ("second", TWO)):
        (mounted / name).mkdir(parents=True)
        (mounted / name / f"{ORG}.json").write_bytes(content.to_bytes())
    (mounted / "..data").symlink_to("first")
    (mounted / f"{ORG}.json").symlink_to(f"..data/{ORG}.json")
    store = FileStore(mounted)
    assert store.versions([ORG]) == {ORG: 1}
    (mounted / "..next").symlink_to("second")
    os.replace(mounted / "..next", mounted / "..data")
    assert store.versions([ORG]) == {ORG: 2}


# --- Bad files --------------------------------------------------------------------------------------------------------


def with_bytes(content: bytes):
    return lambda path: path.write_bytes(content)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # of holes


BAD = {
    "empty": with_bytes(b""),
    "half": with_bytes(TWO.to_bytes()[:-40]),
    "edited": with_bytes(TWO.to_bytes().replace(b"route 2", b"route 3")),
    "of another": with_bytes(document(org_id=OTHER_ORG).to_bytes()),
    "too large": too_large,
    "a pipe": a_pipe,
    "a folder": a_folder,
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_a_bad_file_is_rejected_for_its_own_organisation(folder: Path, store: FileStore, spoil) -> None:
    store.versions([ORG, OTHER_ORG])
    spoil(folder / f"{ORG}.json")
    for _ in range(2):
        # A version that is new, so that a cache fetches it and learns why; not a newer one with every look.
        assert store.versions([ORG, OTHER_ORG]) == {ORG: 2, OTHER_ORG: 7}
        with pytest.raises(DocumentRejected):
            store.fetch(ORG)
    assert store.fetch(OTHER_ORG) is not None


def test_a_cache_keeps_the_last_good_rules_and_tells_of_the_bad_file(folder: Path, store: FileStore) -> None:
    with EngineCache(store, poll_seconds=0.02) as cache:
        engine = cache.engine_for(ORG)
        (folder / f"{ORG}.json").write_bytes(b"{")
        assert eventually(lambda: cache.status()["orgs"][ORG]["rejected"] is not None)
        assert cache.engine_for(ORG) is engine
        store.write(ONE)
        assert eventually(lambda: cache.status()["orgs"][ORG]["rejected"] is None)
        store.write(document(raw_route(3), version=3))
        assert eventually(lambda: cache.engine_for(ORG).version == 3)


def test_a_reader_beside_a_writer_never_sees_half_a_file(store: FileStore, folder: Path) -> None:
    long = [raw_route(n) for n in range(300)]
    stop = threading.Event()

    def write() -> None:
        version = 1
        while not stop.is_set():
            version += 1
            FileStore(folder).write(document(*long[: version % 300], version=version))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [0]

        def look() -> bool:
            store.versions([ORG])
            found = store.fetch(ORG)
            assert found is not None
            seen.append(found.version)
            return len(set(seen)) > 30

        assert eventually(look, 20)
    finally:
        stop.set()
        writer.join()
    assert seen == sorted(seen)
    assert sorted(os.listdir(folder)) == [f"{ORG}.json", f"{OTHER_ORG}.json"]


# --- A bad folder -----------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_store_unavailable_until_it_is(tmp_path: Path) -> None:
    late = tmp_path / "late"
    store = FileStore(late)
    for call in (lambda: store.versions([ORG]), lambda: store.fetch(ORG), lambda: store.write(ONE)):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        assert caught.value.retryable
    late.mkdir()
    assert store.fetch(ORG) is None
    store.write(ONE)
    assert store.versions([ORG]) == {ORG: 1}


def test_a_file_in_place_of_the_folder_is_store_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = FileStore(tmp_path / "file")
    for call in (lambda: store.versions([ORG]), lambda: store.fetch(ORG), lambda: store.write(ONE)):
        with pytest.raises(StoreUnavailable):
            call()


def test_a_file_that_cannot_be_read_holds_up_nobody_else(
    folder: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from routes.engine import filestore

    store.versions([ORG, OTHER_ORG])
    content = filestore.read_file

    def failing(path: str, most: int) -> object:
        if ORG in path:
            raise OSError(errno.EIO, "Input/output error", path)
        return content(path, most)

    monkeypatch.setattr(filestore, "read_file", failing)
    assert store.versions([ORG, OTHER_ORG]) == {ORG: 2, OTHER_ORG: 7}
    with pytest.raises(StoreUnavailable, match="Input/output"):
        store.fetch(ORG)
    with pytest.raises(StoreUnavailable, match="Input/output"):  # nobody is left who could be served
        store.versions([ORG])


def test_a_file_that_goes_between_a_look_and_the_reading_is_not_there(
    folder: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from routes.engine import filestore

    def gone(path: str, most: int) -> object:
        os.remove(path)
        return os.stat(path)

    monkeypatch.setattr(filestore, "read_file", gone)
    assert store.versions([ORG]) == {}
    assert store.fetch(OTHER_ORG) is None
    assert list(folder.iterdir()) == []


def test_where_folders_cannot_be_opened_files_are_written_all_the_same(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_DIRECTORY")
    store.write(TWO)
    assert store.fetch(ORG) == TWO


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    folder: Path, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnavailable, match="No space"):
        store.write(TWO)
    assert store.fetch(ORG) == ONE
    assert sorted(os.listdir(folder)) == [f"{ORG}.json", f"{OTHER_ORG}.json"]


def test_a_path_that_can_be_no_folder_s_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        FileStore("a\0b")


@pytest.mark.parametrize("wrong", ["../secret", "", "*", f"{ORG}/../../{OTHER_ORG}", f"{ORG}\x00", f"{ORG}.json"])
def test_no_id_leads_out_of_the_folder(store: FileStore, wrong: str) -> None:
    with pytest.raises(ValueError):
        store.fetch(wrong)
    with pytest.raises(ValueError):
        store.versions([wrong])


def test_written_bytes_are_those_of_the_document_under_its_own_id(tmp_path: Path) -> None:
    other: Document = document(org_id=OTHER_ORG, version=9)
    FileStore(tmp_path).write(other)
    assert (tmp_path / f"{OTHER_ORG}.json").read_bytes() == other.to_bytes()
    assert os.listdir(tmp_path) == [f"{OTHER_ORG}.json"]


def test_many_threads_share_a_store(store: FileStore) -> None:
    failures: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(30):
                assert store.versions([ORG, OTHER_ORG]) == {ORG: 1, OTHER_ORG: 7}
                assert store.fetch(ORG) == ONE
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_it_refuses_management(store: FileStore) -> None:
    with pytest.raises(ManagementUnsupported):
        store.delete_route(ORG, route_id(1))
