"""Parquet datasets that others wrote: what they may look like, and what is said of those that cannot be read."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from plans.replay import LogRow, MemorySource, Question, replay
from plans.replay.columns import LogChanged
from plans.replay.columns.block import COLUMNS
from plans.replay.columns.parquet import ParquetSource, UnreadableLog
from plans.replay.values import is_routed
from tests.plans.logs.sources import START, WINDOW, digests
from tests.plans.replay.worlds import PRICES, routes

pyarrow = pytest.importorskip("pyarrow")

MINIMAL: dict[str, list[Any]] = {
    "request_id": ["a", "b"],
    "ts": [START, START + timedelta(seconds=1)],
    "model": ["m", "m"],
    "requested_model": ["m", "m"],
    "input_tokens": [1, 2],
    "output_tokens": [3, 4],
}


def written(folder: Path, **columns: Any) -> ParquetSource:
    import pyarrow.parquet

    given = {name: values for name, values in {**MINIMAL, **columns}.items() if values is not None}
    pyarrow.parquet.write_table(pyarrow.table(given), folder / "a.parquet")
    return ParquetSource(folder, WINDOW)


def test_columns_that_a_dataset_lacks_have_their_defaults(tmp_path: Path) -> None:
    source = written(tmp_path, cost_usd=[0.25, None])
    bare = [
        LogRow(
            request_id=MINIMAL["request_id"][n], ts=MINIMAL["ts"][n], model="m", requested_model="m",
            input_tokens=n + 1, output_tokens=n + 3, cost_nano=[250_000_000, None][n],
        )
        for n in range(2)
    ]  # fmt: skip
    assert digests(source) == digests(MemorySource(bare))


def test_texts_that_mean_the_same_give_the_same_digest_however_they_are_written(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    spaced = {"metadata": ['{"a":"1"}', '{"a": "1"}'], "provider": [None, ""], "finish_reason": ["", None]}
    alike = {"metadata": ['{"a": "1"}'] * 2, "provider": ["", ""]}
    assert digests(written(one, **spaced)) == digests(written(other, **alike))


def test_json_null_is_no_synthetic_column(tmp_path: Path) -> None:
    (block,) = written(tmp_path, synthetic=["null", None]).blocks(frozenset({"synthetic"}))
    assert [block.text("synthetic", row) for row in (0, 1)] == ["[]", "[]"]


def test_metadata_that_no_engine_could_be_given_is_unknown(tmp_path: Path) -> None:
    (block,) = written(tmp_path, metadata=['{"n": 123456789012345678901}', "{}"]).blocks(frozenset({"metadata"}))
    assert [block.text("metadata", row) for row in (0, 1)] == [None, "{}"]


def test_whole_numbers_and_flags_may_be_doubles_whose_nan_is_none(tmp_path: Path) -> None:
    nan = float("nan")
    source = written(
        tmp_path, latency_ms=[203.0, nan], cached_tokens=[None, 7.0], has_images=[1.0, nan], status=[nan, 503.0],
        cost_usd=[nan, 0.25], cached=[None, True],
    )  # fmt: skip
    (block,) = source.blocks(frozenset(COLUMNS))
    read = {
        name: block.numbers(name).tolist() for name in ("latency_ms", "cached_tokens", "has_images", "status", "cached")
    }
    assert read == {
        "latency_ms": [203, -1], "cached_tokens": [0, 7], "has_images": [1, -1], "status": [200, 503], "cached": [0, 1],
    }  # fmt: skip
    assert block.numbers("cost_nano").tolist() == [-1, 250_000_000]


def test_whether_a_route_decided_is_read_from_what_a_log_says_of_it(tmp_path: Path) -> None:
    said = [
        (None, None), ("", ""), ("0190a000-0000-7000-8000-000000000001", None), (None, "matched"), (None, "default"),
        ("x", "paused"), ("x", "control"), ("x", "forced"), (None, "no_match"), ("x", "somebody's own word"),
    ]  # fmt: skip
    expected = [0, 0, 1, 1, 1, 0, 0, 1, 0, 1]
    many = {name: [values[0]] * len(said) for name, values in MINIMAL.items() if name != "request_id"}
    many["request_id"] = [f"r{n}" for n in range(len(said))]
    routes_, reasons = ([pair[place] for pair in said] for place in (0, 1))

    def read(**columns: Any) -> list[int]:
        (block,) = written(tmp_path, **many, **columns).blocks(frozenset({"routed"}))
        return block.numbers("routed").tolist()

    assert read(matched_route_id=routes_, reason=reasons) == expected
    assert read(matched_route_id=routes_) == [int(bool(route)) for route in routes_]
    assert read(reason=reasons) == [int(is_routed(None, reason)) for reason in reasons]
    assert read() == [0] * len(said)


def test_files_need_not_have_the_same_columns_of_the_same_types(tmp_path: Path) -> None:
    """As when a gateway began to log more: a block takes what each file has."""
    import pyarrow.parquet

    written(tmp_path, tag=["a", None], latency_ms=[5, 6])
    later = [START + timedelta(seconds=2), START + timedelta(seconds=3)]
    more = {**MINIMAL, "request_id": ["c", "d"], "ts": pyarrow.array(later, pyarrow.timestamp("ns"))}
    more |= {"tag": pyarrow.array(["b", "a"]).dictionary_encode(), "is_stream": [True, None], "latency_ms": [7.0, None]}
    more |= {"model": pyarrow.array(["m", "n"], pyarrow.large_string()), "cost_usd": [0.5, None]}
    pyarrow.parquet.write_table(pyarrow.table(more), tmp_path / "b.parquet")
    bare = {"input_tokens": 1, "output_tokens": 3, "model": "m", "requested_model": "m"}
    other = bare | {"input_tokens": 2, "output_tokens": 4}
    expected = [
        LogRow(request_id="a", ts=START, tag="a", latency_ms=5, **bare),
        LogRow(request_id="b", ts=MINIMAL["ts"][1], latency_ms=6, **other),
        LogRow(request_id="c", ts=later[0], tag="b", is_stream=True, latency_ms=7, cost_nano=500_000_000, **bare),
        LogRow(request_id="d", ts=later[1], tag="a", **{**other, "model": "n"}),
    ]
    for block_rows in (1, 3, 100):
        source = ParquetSource(tmp_path, WINDOW, block_rows=block_rows)
        assert digests(source) == digests(MemorySource(expected, block_rows=block_rows))


def test_a_file_that_is_written_anew_while_it_is_read_gives_no_answer(tmp_path: Path) -> None:
    class Rewritten(ParquetSource):
        def blocks(self, *given: Any) -> Any:
            yield from super().blocks(*given)
            written(tmp_path, cost_usd=[1.0, 1.0])

    written(tmp_path, cost_usd=[0.5, 0.5])
    with pytest.raises(LogChanged, match="changed while it was read"):
        replay(Rewritten(tmp_path, WINDOW), Question(current=routes(), proposed=routes(), prices=PRICES))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"model": None}, "lacks model"),
        ({"model": ["m", None]}, "model.*is empty"),
        ({"ts": [START + timedelta(seconds=1), START]}, "order"),
        ({"ts": [START, START], "request_id": ["b", "a"]}, "order"),
        ({"ts": ["2026-05-01", "2026-05-02"]}, "timestamp"),
        ({"input_tokens": [1, -5]}, "outside of 0 to 1,000,000,000"),
        ({"input_tokens": [1, None]}, r"a\.parquet, column input_tokens: is empty in some rows"),
        ({"ts": [START, None]}, r"a\.parquet, column ts: is empty in some rows"),
        ({"input_tokens": ["x", "y"]}, "input_tokens: is string, and has to be a whole number"),
        ({"input_tokens": [1.5, 2.0]}, "input_tokens: has numbers that are not whole"),
        ({"cached_tokens": [1e300, 2.0]}, "cached_tokens: has numbers that are not whole"),
        ({"cached_tokens": [-1, 2]}, "cached_tokens: has values outside of 0"),
        ({"latency_ms": [2**31, 1]}, "latency_ms"),
        ({"cost_usd": [1e9 + 1, 1]}, "cost_usd"),
        ({"cost_usd": ["much", "more"]}, "cost_usd"),
        ({"cost_usd": [-1e-9, 1.0]}, "cost_usd: has negative amounts"),
        ({"request_id": ["a", ""]}, "request_id: is empty in some rows"),
        ({"synthetic": ["[1]", "[]"]}, "synthetic: is not a list of names"),
        ({"synthetic": ['"model"', "[]"]}, "synthetic: is not a list of names"),
        ({"metadata": ["[" * 100_000, "{}"]}, "column metadata"),
        ({"has_images": [0, 7]}, "has_images: has values that are neither true nor false"),
        ({"has_images": [1, 2]}, "has_images: has values that are neither true nor false"),
        ({"model": ["big", ""]}, "model: is empty in some rows"),
        ({"cached": [1, -1]}, "cached: has values that are neither"),
        ({"metadata": ["{", "{}"]}, "metadata"),
        ({"metadata": [{"team": "a"}, None]}, "metadata: is struct.*has to be text: JSON"),
        ({"tag": [b"\xff", b""]}, "column tag"),
        ({"request_id": ["a", None]}, "request_id.*is empty"),
        ({"request_id": [["a"], ["b"]]}, "request_id: is list"),
        ({"request_id": [b"a", b"\xff"]}, "request_id"),
        ({"embedding": ["a", "b"]}, "embedding"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_said_by_column(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UnreadableLog, match=message):
        list(written(tmp_path, **columns).blocks(frozenset(COLUMNS)))


def test_a_dictionary_of_bytes_is_one_of_texts(tmp_path: Path) -> None:
    names = pyarrow.array([b"big", b"small"]).dictionary_encode()
    (block,) = written(tmp_path, model=names).blocks(frozenset({"model"}))
    assert [block.text("model", row) for row in range(2)] == ["big", "small"]


def test_a_folder_without_files_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableLog, match="There is no"):
        ParquetSource(tmp_path, WINDOW)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(UnreadableLog, match=r"a\.parquet cannot be read"):
        ParquetSource(tmp_path, WINDOW).count()
