"""Tests that are dear: asked only when the first row left needs one, at most once a request, for all rows at a time."""

from __future__ import annotations

from collections import Counter, defaultdict

from routes.engine.compiled.keywords import FEW, Search, search_many
from routes.engine.compiled.literals import Test, test_of
from routes.engine.compiled.rows import Literal
from routes.engine.compiled.sets import RowTest, Sets
from routes.engine.context import RequestContext


class Dear:
    """The dear literals of all rows. `blurred` are asked of a row before anything else of it."""

    def __init__(self, literals: list[tuple[int, Literal]], blurred: list[RowTest], sets: Sets) -> None:
        searched = self._searched_rows(literals)
        rows_of_word: dict[str, list[int]] = defaultdict(list)
        rows_of_test: dict[Literal, list[int]] = defaultdict(list)
        for row, literal in literals:
            if literal.kind == "keywords" and row in searched:
                for word in literal.value:
                    rows_of_word[word].append(row)
            else:
                rows_of_test[literal].append(row)
        #: Rows that one pass over the prompt settles, and by the index of a keyword those that it lets live.
        self._searched = sets.of(searched)
        self._not_searched = sets.all ^ self._searched
        self._search: Search | None = search_many(list(rows_of_word)) if rows_of_word else None
        self._rows_of_word = [sets.of(rows) for rows in rows_of_word.values()]
        self._tests: list[Test] = [test_of(literal) for literal in rows_of_test]
        #: By test, the rows that do not need it; not kept for what a single row needs.
        self._others = {
            index: sets.all ^ sets.of(rows) for index, rows in enumerate(rows_of_test.values()) if len(rows) > 1
        }
        self._blurred = blurred
        needs: list[list[int]] = [[] for _ in range(sets.count)]
        for index, rows in enumerate(rows_of_test.values()):
            for row in rows:
                needs[row].append(index)
        self._needs = [tuple(indexes) for indexes in needs]

    @staticmethod
    def _searched_rows(literals: list[tuple[int, Literal]]) -> set[int]:
        """Where keywords are many: the rows that need one of one list of them. Rows with several lists, or with one of
        which none may be found, are few, and are tested one by one."""
        lists = [(row, literal) for row, literal in literals if literal.kind == "keywords"]
        words = {word for _, literal in lists for word in literal.value}
        if len(words) <= FEW or "" in words:
            return set()
        count = Counter(row for row, _ in lists)
        return {row for row, literal in lists if count[row] == 1 and literal.want}

    def first_row(self, context: RequestContext, rows: int) -> int:
        """The first of these rows of which every dear literal holds; -1 where there is none."""
        asked: set[int] = set()
        searched = self._searched
        needs, tests, others, blurred = self._needs, self._tests, self._others, self._blurred
        while rows:
            lowest = rows & -rows
            row = lowest.bit_length() - 1
            for holds in blurred:
                if not holds(row, context):
                    rows ^= lowest
                    break
            else:
                if searched & lowest:
                    rows &= self._not_searched | self._found(context)
                    searched = 0
                    continue
                for index in needs[row]:
                    if index not in asked:
                        asked.add(index)
                        if not tests[index](context):
                            rows = rows & others[index] if index in others else rows ^ lowest
                            break
                else:
                    return row
        return -1

    def _found(self, context: RequestContext) -> int:
        """The searched rows that the prompt lets live."""
        text = context.lowered_prompt()
        found = 0
        if text is not None and self._search is not None:
            for word in self._search(text):
                found |= self._rows_of_word[word]
        return found
