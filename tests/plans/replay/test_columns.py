"""Columns: what they hold, and canonical bytes that depend on nothing else."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from plans.replay import MemorySource
from plans.replay.cases import Codes, Combinations, Names
from plans.replay.columns import Block, Cursor, block_of
from plans.replay.columns.column import Coded, Column, Numbers, Texts, Vocabulary, digest_of, joined
from plans.replay.columns.spooled import SpooledColumn, joined_long
from plans.replay.executors import Part
from plans.replay.replay import parts_of
from plans.replay.survey import Survey
from tests.plans.replay.worlds import row

TEXTS = ["b", None, "", "a", "b", "ü", "a longer text than eight bytes"]


def test_codes_have_the_same_bytes_whatever_else_their_vocabulary_holds_in_whatever_order() -> None:
    plain = Coded.of(TEXTS)
    vocabulary = Vocabulary(["unused", "ü", "a longer text than eight bytes", "", "b", "a", "zz"])
    places = {text: code for code, text in enumerate(vocabulary.texts)}
    other = Coded(
        np.array([places.get(text or "", -1) if text is not None else -1 for text in TEXTS], np.int32), vocabulary
    )
    assert digest_of(other) == digest_of(plain)


def spooled(texts: list[str | None]) -> Coded:
    made = SpooledColumn()
    for start in range(0, len(texts), 2):
        made.add(texts[start : start + 2])
    return made.column()


@pytest.mark.parametrize("times", [1, 100_000])
def test_long_texts_are_read_back_from_their_file_and_have_the_same_bytes(times: int) -> None:
    texts = [None if text is None else text * times for text in TEXTS]
    column = spooled(texts)
    assert digest_of(column) == digest_of(Coded.of(texts))
    assert [None if code < 0 else column.vocabulary.texts[code] for code in column.codes] == texts
    assert list(column.vocabulary.texts) == column.vocabulary.texts[:] == list(Coded.of(texts).vocabulary.texts)
    with pytest.raises(IndexError):
        column.vocabulary.texts[len(column.vocabulary)]


@pytest.mark.parametrize("cuts", [[], [1], [2, 2, 5], list(range(7))], ids=str)
@pytest.mark.parametrize(
    ("made", "join"),
    [
        (Coded.of, joined),
        (Texts.of, joined),
        (spooled, joined_long),
        (lambda texts: Numbers(np.arange(len(texts))), joined),
    ],
)
def test_parts_of_a_column_make_the_column(made: Any, join: Any, cuts: list[int]) -> None:
    """Cut from one, or made apart with vocabularies of their own."""
    whole = made(TEXTS)
    edges = list(zip([0, *cuts], [*cuts, len(TEXTS)], strict=True))
    assert digest_of(join([whole.cut(start, stop) for start, stop in edges])) == digest_of(whole)
    if made is not spooled and not isinstance(whole, Numbers):
        assert digest_of(join([made(TEXTS[start:stop]) for start, stop in edges])) == digest_of(whole)


@pytest.mark.parametrize("at", range(len(TEXTS)))
@pytest.mark.parametrize("made", [Coded.of, Texts.of])
def test_another_text_has_other_bytes(at: int, made: Any) -> None:
    changed = [*TEXTS[:at], "new", *TEXTS[at + 1 :]]
    assert digest_of(made(changed)) != digest_of(made(TEXTS))


def test_where_a_text_begins_is_in_its_bytes() -> None:
    assert digest_of(Texts.of(["ab", "c"])) != digest_of(Texts.of(["a", "bc"]))


@pytest.mark.parametrize(
    "values", [[0], [-1, 0, 1], [7, 7, 7], [-1, 254], [-1, 255], [0, 2**16], [5, 2**32 + 5], [0, 2**62]]
)
def test_numbers_have_the_bytes_of_their_values(values: list[int]) -> None:
    plain = digest_of(Numbers(np.array(values)))
    assert digest_of(Numbers(np.array(values))) == plain
    for at in range(len(values)):
        changed = list(values)
        changed[at] += 1
        assert digest_of(Numbers(np.array(changed))) != plain
    if len(set(values)) > 1:
        assert digest_of(Numbers(np.array(values[::-1]))) != plain


def test_flags_have_the_bytes_of_numbers() -> None:
    assert digest_of(Numbers(np.array([-1, 0, 1], np.int8))) == digest_of(Numbers(np.array([-1, 0, 1])))


@pytest.mark.parametrize("made", [Coded.of, Texts.of, lambda texts: Numbers(np.arange(len(texts)))])
def test_taken_rows_are_those_rows(made: Any) -> None:
    rows = np.array([5, 0, 3])
    column: Column = made(TEXTS)
    if isinstance(column, Numbers):
        assert column.taken(rows).values.tolist() == [5, 0, 3]
    else:
        assert digest_of(column.taken(rows)) == digest_of(made([TEXTS[row] for row in rows]))
    assert len(column.taken(np.array([], np.intp))) == 0


def test_texts_have_hashes_of_their_own() -> None:
    """Also those that differ in length alone, in what is beyond eight bytes, or in zeros."""
    texts = ["", "a", "a\0", "a\0\0", "ab", "ba", "12345678", "123456789", "123456789\0", "0" * 40, "0" * 39 + "1"]
    assert len(set(Texts.of(texts).hashes().tolist())) == len(texts)
    for chosen in (["aa", "ab"], [""], []):
        assert Texts.of(chosen).hashes().tolist() == [
            int(one) for text in chosen for one in Texts.of([text, "x" * 20]).hashes()[:1]
        ]
    assert [Texts.of(texts)[place] for place in range(len(texts))] == texts


def test_a_part_of_a_block_knows_where_its_rows_were() -> None:
    block = block_of([row(n, tag=f"t{n}", request_digest=f"d{n}") for n in range(6)], 100)
    part = block.taken(np.array([1, 4, 5])).taken(np.array([0, 2]))
    assert part.ordinals.tolist() == [101, 105]
    assert [part.text(name, 1) for name in ("tag", "request_digest", "request_id")] == ["t5", "d5", "r00005"]
    assert part.number("input_tokens", 0) == 200
    assert part.numbers("latency_ms").tolist() == [510, 550]


def test_a_column_that_the_log_lacks_has_its_default_in_every_row() -> None:
    empty = Block(0, 2, {})
    assert [empty.text(name, 1) for name in ("tag", "kind", "provider", "synthetic", "request_digest")] == [
        None, "primary", "", "[]", None,
    ]  # fmt: skip
    assert [empty.number(name, 0) for name in ("latency_ms", "cached_tokens", "status")] == [None, 0, 200]
    assert [empty.flag(name, 0) for name in ("cached", "has_tools")] == [False, None]
    full = block_of([row(n, tag=None, provider="", fact_sticky_key=None) for n in range(2)])
    for name in (
        "tag",
        "kind",
        "synthetic",
        "cached_tokens",
        "status",
        "cached",
        "has_tools",
        "provider",
        "fact_sticky_key",
    ):
        assert empty.digest(name) == full.digest(name), name


def test_a_log_in_memory_is_in_order_and_begins_where_it_is_told() -> None:
    rows = [row(n, ts=row(n // 2).ts) for n in range(10)]
    source = MemorySource(rows[::-1], block_rows=4)
    assert source.count() == 10
    blocks = list(source.blocks(frozenset()))
    assert [(block.first, block.rows) for block in blocks] == [(0, 4), (4, 4), (8, 2)]
    assert [block.texts("request_id")[0] for block in blocks] == ["r00000", "r00004", "r00008"]
    assert [block.first for block in source.blocks(frozenset(), Cursor(4))] == [4, 8]


@pytest.mark.parametrize(("blocks", "parts"), [(0, 3), (1, 3), (5, 2), (5, 5), (5, 9), (16, 3)])
def test_parts_are_all_blocks_each_once_and_nearly_alike(blocks: int, parts: int) -> None:
    found = parts_of(Survey(starts=[Cursor(10 * n) for n in range(blocks)]), parts)
    if not blocks:
        assert found == [Part(Cursor(), 0)]
        return
    assert [
        place for part in found for place in range(part.start.rows // 10, part.start.rows // 10 + part.blocks)
    ] == list(range(blocks))
    sizes = [part.blocks for part in found]
    assert len(sizes) == min(blocks, parts)
    assert max(sizes) - min(sizes) <= 1


def test_combinations_are_numbered_once_however_many_there_could_be() -> None:
    """Few possible ones are looked up, many are sorted; the numbers are the same, also where sizes grow."""
    chance = np.random.Generator(np.random.PCG64(1))
    numbered = Combinations()
    for size in (4, 16, 1 << 12, 1 << 20, 8):
        columns = [chance.integers(0, min(size, 16), 200) for _ in range(3)]
        found = numbered.of([Codes(column, size) for column in columns])
        assert [numbered.met[number] for number in found] == list(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    assert len(set(numbered.met)) == len(numbered.met)
    with pytest.raises(ValueError, match="too many"):
        numbered.of([Codes(np.zeros(1, np.int64), 2**32)] * 2)


def test_names_are_numbered_once() -> None:
    names = Names()
    assert [names.number(text) for text in ("b", "a", "b", "")] == [0, 1, 0, 2]
    assert names.met == ["b", "a", ""]


def test_a_text_has_one_hash_whatever_stands_beside_it_and_a_long_one_takes_no_room_for_all() -> None:
    texts = ["", "a", "ab", "abcdefgh", "abcdefghi", "x" * 100_000, *(f"id {n}" for n in range(40_000))]
    alone = [int(Texts.of([text]).hashes()[0]) for text in texts[:6]]
    tracemalloc.start()
    together = Texts.of(texts).hashes()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert together[:6].tolist() == alone
    assert len(set(together.tolist())) == len(texts)
    assert peak < 2**25, "padded to the longest of all they would take 4 GB"
