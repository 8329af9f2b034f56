"""Logged requests column by column: `Block`, what it is made of, and where it comes from.

column      numbers, flags, texts; their canonical bytes
block       consecutive rows, and how one is made of `LogRow` values
spooled     columns of long texts, which lie in files
source      what gives blocks: `Source`, rows in memory
kept        a slow source, of which what fits is kept in memory
parquet     a dataset of files, by way of `arrow`; `dataset` writes one
"""

from plans.replay.columns.block import BLOCK_ROWS, Block, block_of
from plans.replay.columns.source import Cursor, LogChanged, MemorySource, Source

__all__ = ["BLOCK_ROWS", "Block", "Cursor", "LogChanged", "MemorySource", "Source", "block_of"]
