"""Writing a log as a Parquet dataset, as `parquet` reads it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import batched, chain, islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.arrow import MONEY
from plans.replay.columns.block import CODED, COLUMNS, FLAGS, NUMBERS, Block
from plans.replay.columns.column import Coded, Numbers, Texts
from plans.replay.columns.parquet import FILED, UNIQUE, claim_of
from plans.replay.columns.source import Source

#: What a file holds at most, in blocks: files of a million rows are read quickly, and can be thrown away by age.
BLOCKS_PER_FILE: Final = 16
#: Texts of requests are not copied to files.
WRITTEN: Final = tuple(name for name in COLUMNS if name != "prompt")


def write_dataset(source: Source, folder: Path, on_block: Callable[[int], None] | None = None) -> int:
    """Write all rows to files of a new folder; answers how many rows. The folder is there once all of it is: until then
    its name ends in `.unfinished`, and what an interrupted run left under that name is written anew. `on_block` hears how
    many rows were written so far. Raises `FileExistsError` where the folder exists, or another process writes it."""
    with _unfinished(folder) as place:
        rows = _write(source, place, on_block)
        place.rename(folder)
    return rows


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """An empty folder beside this one, which nobody else writes to meanwhile."""
    place = folder.with_name(f"{folder.name}.unfinished")
    place.mkdir(parents=True, exist_ok=True)
    handle = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had the lock may have finished in between, and what was opened has its final name now.
            is_here = os.path.samestat(os.fstat(handle), place.stat())
        except OSError:
            is_here = False
        if not is_here:
            raise FileExistsError(f"{folder} is being written by another process. Wait for its end.")
        if folder.exists():
            place.rmdir()
            raise FileExistsError(
                f"{folder} exists already. Move it away or delete it; then all rows are written anew."
            )
        for left in place.iterdir():
            left.unlink()
        yield place
    finally:
        os.close(handle)


def _write(source: Source, folder: Path, on_block: Callable[[int], None] | None) -> int:
    import pyarrow
    import pyarrow.parquet as parquet

    # Numbers differ from row to row, and plain ones are read three times as fast; as are decimals as integers.
    layout = {
        "compression": "zstd", "use_dictionary": sorted(CODED), "store_decimal_as_integer": True,
        "write_page_checksum": True,
    }  # fmt: skip
    schema = _table(Block(0, 0, {})).schema
    dataset = uuid4().hex
    rows = 0
    blocks = source.blocks(frozenset(WRITTEN))
    for first in blocks:
        before = rows
        file = folder / f"{rows:012d}.parquet"
        with parquet.ParquetWriter(file, schema, **layout) as writer:
            for group in batched(chain([first], islice(blocks, BLOCKS_PER_FILE - 1)), _blocks_per_group(first)):
                table = pyarrow.concat_tables(map(_table, group)).unify_dictionaries().combine_chunks()
                writer.write_table(table, row_group_size=table.num_rows)
                rows += table.num_rows
                if on_block is not None:
                    on_block(rows)
            if source.has_unique_ids:
                writer.add_key_value_metadata({UNIQUE: claim_of(dataset, file.name, rows - before)})
    if not rows:
        parquet.write_table(_table(Block(0, 0, {})), folder / f"{rows:012d}.parquet")
    return rows


def _blocks_per_group(block: Block) -> int:
    """Rows of a group share the dictionaries of their texts; embeddings fill a group faster."""
    return 1 if not block.lacks("embedding") and (block.coded("embedding").codes >= 0).any() else BLOCKS_PER_FILE


def _table(block: Block) -> Any:
    import pyarrow

    return pyarrow.table({FILED[name][-1]: _array(name, block) for name in WRITTEN})


def _array(name: str, block: Block) -> Any:
    import pyarrow

    column = block.column(name)
    if isinstance(column, Coded):
        codes = np.ascontiguousarray(column.codes)
        texts: list[Any] = list(column.vocabulary.texts)
        if name == "embedding":
            texts = [np.frombuffer(text.encode("latin-1"), "<f4") for text in texts]
            vectors = [None if code < 0 else texts[code] for code in codes.tolist()]
            return pyarrow.array(vectors, pyarrow.list_(pyarrow.float32()))
        indices = pyarrow.array(codes, mask=codes < 0)
        return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(texts, pyarrow.string()))
    if isinstance(column, Texts):
        offsets = pyarrow.py_buffer(np.ascontiguousarray(column.offsets))
        return pyarrow.LargeStringArray.from_buffers(len(column), offsets, pyarrow.py_buffer(column.data))
    assert isinstance(column, Numbers)
    values: NDArray[Any] = np.ascontiguousarray(column.values)
    unknown = values < 0
    if name == "ts":
        return pyarrow.array(values).cast(pyarrow.timestamp("us", "UTC"))
    if name == "routed":  # by which route is not known
        indices = pyarrow.array(np.zeros(len(values), np.int32), mask=values <= 0)
        return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["matched"]))
    if name in FLAGS:
        return pyarrow.array(values > 0, mask=unknown)
    if name in MONEY:
        return _decimals(values, unknown)
    assert name in NUMBERS
    return pyarrow.array(values, mask=unknown)


def _decimals(nano: NDArray[np.int64], unknown: NDArray[np.bool_]) -> Any:
    """Nano-dollars as decimals of US dollars: 128-bit integers, which these never fill."""
    import pyarrow

    words = np.zeros((len(nano), 2), "<i8")
    words[:, 0] = np.where(unknown, 0, nano)
    known = np.packbits(~unknown, bitorder="little")
    buffers = [pyarrow.py_buffer(known), pyarrow.py_buffer(words)]
    return pyarrow.Array.from_buffers(pyarrow.decimal128(18, 9), len(nano), buffers, int(unknown.sum()))
