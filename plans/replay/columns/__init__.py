"""Logged requests column by column: `Block`, what it is made of, and where it comes from.

column      numbers, flags, texts; their canonical bytes
block       consecutive rows, and how one is made of `LogRow` values
source      what gives blocks: `Source`, rows in memory
parquet     a dataset of files; `dataset` writes one
"""

from plans.replay.columns.block import BLOCK_ROWS, Block, block_of
from plans.replay.columns.source import Cursor, LogChanged, MemorySource, Source

__all__ = ["BLOCK_ROWS", "Block", "Cursor", "LogChanged", "MemorySource", "Source", "block_of"]
