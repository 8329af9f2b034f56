"""Which of many keywords a text holds, at a cost that does not grow with their number.

A few are searched one by one. Many are searched in one pass: by Aho-Corasick with the extra `keywords`, else by one
regular expression over the tree of their beginnings, and thousands by the pieces of the text itself. All answer the
same; overlapping keywords, and keywords inside others, are all found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

#: So many are searched one by one.
FEW = 40
#: Beyond these the regular expression would take too long to compile.
MAX_IN_TREE, MAX_CHARACTERS_IN_TREE = 2_000, 40_000
#: So many are searched by a table of states.
MAX_IN_TABLE = 1_000
#: So many hits are found one by one, which is faster than to ask at every place for one.
_STEPS = 16
#: Pieces are as long as the longest of these that the keyword has: longer ones are seldom there by chance.
_PIECES = (6, 4, 3, 2, 1)

#: The indexes of the keywords that a text holds.
type Search = Callable[[str], Collection[int]]


def search_many(keywords: Sequence[str]) -> Search:
    """A search for distinct keywords, in lower case, none of them empty."""
    automaton = _automaton()
    if automaton is not None:
        return _search_by_automaton(automaton, keywords)
    if len(keywords) <= MAX_IN_TREE and sum(map(len, keywords)) <= MAX_CHARACTERS_IN_TREE:
        return _search_by_tree(keywords)
    return _search_by_pieces(keywords)


def _automaton() -> Callable[[list[str]], Any] | None:
    try:
        from ahocorasick_rs import AhoCorasick, Implementation
    except ImportError:
        return None

    def build(keywords: list[str]) -> Any:
        # The fastest search; its size, and the time to build it, grow out of hand beyond a thousand keywords.
        implementation = Implementation.DFA if len(keywords) <= MAX_IN_TABLE else None
        return AhoCorasick(keywords, implementation=implementation)

    return build


def _search_by_automaton(automaton: Callable[[list[str]], Any], keywords: Sequence[str]) -> Search:
    find = automaton(list(keywords)).find_matches_as_indexes

    def search(text: str) -> Collection[int]:
        hits = find(text, overlapping=True)
        return {index for index, _, _ in hits} if hits else ()

    return search


def _search_by_tree(keywords: Sequence[str]) -> Search:
    indexes = {keyword: index for index, keyword in enumerate(keywords)}
    # Where a keyword is found, those that it begins with are there as well.
    implied = {
        keyword: [indexes[keyword[:end]] for end in range(1, len(keyword) + 1) if keyword[:end] in indexes]
        for keyword in keywords
    }
    expression = _expression(_tree_of(keywords))
    find = re.compile(expression).search
    # A look-ahead takes no text, so that the next search begins one character on: overlapping keywords count.
    find_all = re.compile(f"(?=({expression}))").findall

    def search(text: str) -> Collection[int]:
        found: set[str] = set()
        start = 0
        for _ in range(_STEPS):
            if (match := find(text, start)) is None:
                break
            found.add(match[0])
            start = match.start() + 1
        else:
            found.update(find_all(text, start))
        return {index for keyword in found for index in implied[keyword]}

    return search


type _Tree = dict[str, _Tree]


def _tree_of(keywords: Iterable[str]) -> _Tree:
    tree: _Tree = {}
    for keyword in keywords:
        node = tree
        for character in keyword:
            node = node.setdefault(character, {})
        node[""] = {}
    return tree


def _expression(tree: _Tree) -> str:
    """The regular expression that finds the longest keyword of the tree at a place.

    Not recursive: a keyword of a thousand characters would be too deep.
    """
    # Nodes in the order in which they are found; walked backwards, children come before their parent.
    nodes: list[_Tree] = [tree]
    for node in nodes:
        nodes.extend(child for character, child in node.items() if character)
    texts: dict[int, str] = {}
    for node in reversed(nodes):
        # Characters that go on in the same way make one class.
        by_rest: dict[str, list[str]] = {}
        for character, child in node.items():
            if character:
                by_rest.setdefault(texts[id(child)], []).append(re.escape(character))
        ways = [
            (characters[0] if len(characters) == 1 else f"[{''.join(characters)}]") + rest
            for rest, characters in by_rest.items()
        ]
        text = ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"
        texts[id(node)] = (f"(?:{text})?" if ways else "") if "" in node else text
    return texts[id(tree)]


def _search_by_pieces(keywords: Sequence[str]) -> Search:
    """By the first characters of each keyword, looked up among all pieces of the text of that length."""
    by_piece: dict[int, dict[str, list[tuple[int, str]]]] = {}
    for index, keyword in enumerate(keywords):
        length = next(length for length in _PIECES if length <= len(keyword))
        by_piece.setdefault(length, {}).setdefault(keyword[:length], []).append((index, keyword))

    def search(text: str) -> Collection[int]:
        hits: list[int] = []
        for length, known in by_piece.items():
            pieces = {text[start : start + length] for start in range(len(text) - length + 1)}
            for piece in pieces & known.keys():
                hits += [index for index, keyword in known[piece] if keyword in text]
        return hits

    return search
