"""YAML is read as JSON would be: by one meaning, within bounds, and whatever is wrong is told with its line."""

import json
import os
import re
from contextlib import nullcontext, suppress
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from routes.engine.canonical import canonical_bytes
from routes.engine.document import MAX_DEPTH, parse_json
from routes.engine.errors import DocumentRejected
from routes.transfer.files import UnreadableFile, read_file
from routes.transfer.notation import MAX_BYTES, MAX_NODES, UnreadableYaml, read_yaml, write_dense, write_yaml
from tests.routes.rules.generate import NEW_ROUTES

#: Rounds of changed files.
ROUNDS = int(os.environ.get("CASES", "2000"))
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20) | st.sampled_from(
    [
        "yes", "No", "on", "OFF", "y", "N", "null", "Null", "~", "true", "FALSE", "012", "0o7", "0x1F", "1_000", "1:30",
        "22:00", "2026-05-01", "2026-05-01T00:00:00Z", "1e3", ".5", "5.", "+1", "-", "- a", "? a", ": ", "a: b", "a #b",
        "#", "&a", "*a", "!a", "!!str a", "<<", "=", "%YAML 1.1", "---", "...", "[", "]", "{", "}", ",", "a, b", "|", ">",
        "'", '"', "\\", "`", "@", " a", "a ", "\ta", "a\nb", "\n", "\r\n", "\u0085", "\u2028", "\ufeff", "\x7f", "\x1b",
        "gpt-4o", "gpt-4o mini", "a.b/c", ".inf", "-.INF", ".nan", "😀", "\ufffe", "é", "k" * 1_100, "0", "", "null ",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def read(text: str) -> Any:
    return read_yaml(text.encode())


def refused(text: str | bytes) -> str:
    with pytest.raises(UnreadableYaml) as error:
        read_yaml(text if isinstance(text, bytes) else text.encode())
    return str(error.value)


# --- What is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None), ("Null", None), ("~", None), ("true", True), ("TRUE", True), ("False", False),
        ("0", 0), ("-0", 0), ("12", 12), ("+12", 12), ("-7", -7), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1.e+3", 1000.0),
        ("1.0E-3", 0.001), ("9007199254740993", 9007199254740993),
        ("'yes'", "yes"), ('"No"', "No"), ("yEs", "yEs"), ("nULL", "nULL"), ("tRue", "tRue"), ("only", "only"),
        ("2026-05-01-preview", "2026-05-01-preview"), ("'22:00'", "22:00"), ("9:99", "9:99"), ("llama3:8b", "llama3:8b"),
        ("8:30-9:00", "8:30-9:00"), ("1e5x", "1e5x"), ("==", "=="), ("0.0.1", "0.0.1"), ("e3", "e3"),
        ("'12'", "12"), ('"true"', "true"), ("'it''s'", "it's"), ('"\\u00e9\\n"', "é\n"), ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"), ("'012'", "012"), ("a\n b", "a b"),
        ("a: [1, {b: c}]", {"a": [1, {"b": "c"}]}), ("- 1\n-\n- x", [1, None, "x"]), ("? a\n: b", {"a": "b"}),
        ("{}", {}), ("[]", []), ("--- a\n...\n", "a"), ("# said\na: 1 # so\n", {"a": 1}),
        ("'yes': 1\n'on': 2", {"yes": 1, "on": 2}),
        ("\ufeffa: 1", {"a": 1}), ('{"a": [1, true, null]}', {"a": [1, True, None]}), ("a: '<<'\n", {"a": "<<"}),
        ("- '<<'", ["<<"]), ("'<<': 1", {"<<": 1}), ("a: http://x", {"a": "http://x"}),
    ],
)  # fmt: skip
def test_a_value_has_the_meaning_of_the_core_schema(text: str, value: Any) -> None:
    found = read(text)
    assert found == value
    assert canonical_bytes([type(found).__name__]) == canonical_bytes([type(value).__name__])


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, "The key 'a' is there twice, first in line 1."),
        ('a: 1\n"a": 2', 2, "twice"),
        ("x:\n  - &name a", 2, "&name gives this a name"),
        ("x: &n {a: 1}\ny: *n", 1, "&n gives this a name"),
        ("- a\n- *n", 2, "*n stands for something else"),
        ("a: !!str 1", 1, "The tag '!!str' says what this is"),
        ("a: !own {b: 1}", 1, "The tag '!own'"),
        ("a: ! b", 1, "The tag '!'"),
        ("- !!python/object/apply:os.system [id]", 1, "The tag '!!python/object/apply:os.system'"),
        ("a: !!binary aGk=", 1, "The tag '!!binary'"),
        ("%TAG ! tag:x,2000:\n---\na: 1", 1, "Leave out directives"),
        ("%YAML 1.2\n---\na: 1", 1, "Leave out directives"),
        ("a: 1\n---\nb: 2", 2, "A second document begins here"),
        ("\n\n1: a", 3, "A key is text, and this is a number"),
        ("true: a", 1, "this is true or false"),
        ("null: a", 1, "this is nothing"),
        ("?\n: a", 1, "this is nothing"),
        ("? [a]\n: b", 1, "this is a list"),
        ("? {a: b}\n: c", 1, "this is an object"),
        ("a:\n  <<: {b: 1}", 2, "<< would bring in another object"),
        ("a: 012", 1, "is read as one thing here and as another there"),
        ("a: -007", 1, "is read as one thing here and as another there"),
        ("a: 00.5", 1, "is read as one thing here and as another there"),
        ("a: 0o14", 1, "is read as one thing here and as another there"),
        ("a: 0x1F", 1, "is read as one thing here and as another there"),
        ("a: 0b11", 1, "is read as one thing here and as another there"),
        ("012: a", 1, "is read as one thing here and as another there"),
        ("a: .inf", 1, ".inf is no JSON number"),
        ("a: -.Inf", 1, "no JSON number"),
        ("a: .NaN", 1, "no JSON number"),
        ("a: 1.0e+999", 1, "beyond what a double holds"),
        ("a: " + "9" * 500, 1, "more digits than any reader keeps"),
        ('a: "\\0"', 1, "U+0000"),
        ("a: b: c", 1, "This is not YAML"),
        ("a:\n\t- b", 2, "This is not YAML"),
        ("a: [1, 2", 1, "This is not YAML"),
        ("a: 'b", 1, "This is not YAML"),
        ('a: 1\nb: "\\q"', 2, "This is not YAML"),
        ("a: @b", 1, "This is not YAML"),
    ],
)
def test_what_has_another_meaning_elsewhere_or_none_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    said = refused(text)
    assert says in said
    found = re.match(r"Line (\d+): ", said)
    assert found is not None
    assert int(found[1]) in (line, text.count("\n") + 2), "where it stands, or where what is missing should"


@pytest.mark.parametrize(
    "text",
    ["yes", "Yes", "NO", "no", "on", "Off", "y", "N", "=", "<<", "1_000", "1_0.5", "1,000", "12:30", "06:30", "1:30:00",
     "190:20:30.15", "-1:30", "2026-05-01", "2026-5-1", "2026-05-01T00:00:00Z", "2026-05-01 08:00:00.5 +02:00", "1e5",
     "1E-3", "1.5e3", "-.5", "+.5e+3", "010", "0.5_0"],
)  # fmt: skip
def test_what_readers_disagree_on_wants_quotes(text: str) -> None:
    for place in (text, f"a: {text}", f"- {text}", f"{text}: a"):
        assert refused(f"# said\n{place}").startswith("Line 2: ")
    assert f"{text!r} is read as one thing here and as another there. Put text into quotes" in refused(f"- {text}")
    assert read(f"- '{text}'") == [text]


@settings(max_examples=2_000)
@given(st.text("0123456789:._-+eExXoObBTZ ynofYNOFtrueals~=<,aAiI", min_size=1, max_size=12))
def test_whatever_is_read_a_reader_of_yaml_1_1_reads_alike(text: str) -> None:
    for place in (f"- {text}", f"'k': {text}", f"{text}: 1"):
        try:
            found = read(place)
        except UnreadableYaml:
            continue
        assert canonical_bytes(found) == canonical_bytes(yaml.safe_load(place))


@pytest.mark.parametrize("data", [b"", b"\n \n", b"# said\n", b"\xef\xbb\xbf"])
def test_nothing_is_no_value(data: bytes) -> None:
    assert refused(data) == "There is nothing in it."


def test_what_is_no_utf_8_and_no_text_is_refused_with_its_line() -> None:
    assert refused(b"a: 1\nb: \xff").startswith("Line 2: This is not UTF-8.")
    assert refused("a: 1".encode("utf-16")).startswith("Line 1: This is not UTF-8.")
    assert refused(b"a: \xed\xa0\x80").startswith("Line 1: This is not UTF-8."), "a lone surrogate"
    for raw in (b"a: \x00", b"a: \x1b", b"a: \xc2\x80", b"a: \xef\xbf\xbf"):
        assert "This is not YAML" in refused(raw)


def test_what_is_json_is_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ('{"a": "\\u0000"}', '{"a": "\\ud83d"}'):
        assert "U+0000 or a lone surrogate" in refused(text) or "not YAML" in refused(text)
    assert refused('{\n"a": 1,\n"a": 2}').startswith("Line 3: The key 'a' is there twice")
    monkeypatch.delattr(yaml, "parse")
    assert read(' {"a": [1e-7, "yes", true]}') == {"a": [1e-7, "yes", True]}


# --- Bounds -----------------------------------------------------------------------------------------------------------


def test_aliases_that_would_grow_to_gigabytes_are_not_followed() -> None:
    laughs = 'a: &a ["lol","lol","lol"]\n' + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert refused(laughs).startswith("Line 1: &a gives this a name")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "".join(f"{' ' * depth}a:\n" for depth in range(3_000))],
    ids=["lists", "objects", "dashes", "lines"],
)
def test_depth_is_bounded_before_the_rest_is_looked_at(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse, seen = yaml.parse, []

    def parsed(*given: Any, **more: Any) -> Any:
        for event in parse(*given, **more):
            seen.append(event)
            yield event

    monkeypatch.setattr(yaml, "parse", parsed)
    assert f"nested deeper than {MAX_DEPTH} levels" in refused(text)
    assert len(seen) < 3 * MAX_DEPTH


def test_as_deep_as_json_may_be_yaml_may_be() -> None:
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert read(deep) == parse_json(deep.encode(), MAX_DEPTH, 1_000)
    deeper = f"[{deep}]"
    assert "nested deeper" in refused(deeper)
    with pytest.raises(DocumentRejected):
        parse_json(deeper.encode(), MAX_DEPTH, 1_000)


def test_size_and_members_are_bounded() -> None:
    assert refused(b" " * (MAX_BYTES + 1)) == f"There are more than {MAX_BYTES:,} bytes."
    assert f"more than {MAX_NODES:,} values" in refused("[" + "1," * MAX_NODES + "]")


@pytest.mark.parametrize(
    "piece",
    ["{", "[", "? ", ": ", "'", '"', "!a", "&a ", "*a ", "%A B\n", "#", "\n", "a\n", "- |\n", "a: >\n", "\\", "a,", "--- ",
     "...\n", "{a", "[a: ", "\t", "a: b: ", '"\\x41', "-\n"],
)  # fmt: skip
def test_a_megabyte_of_anything_is_read_or_refused(piece: str) -> None:
    """What took long would be seen here: each takes less than a second."""
    with suppress(UnreadableYaml):
        read((piece * (2**20 // len(piece) + 1))[: 2**20])


# --- Writing ----------------------------------------------------------------------------------------------------------


#: Texts that look like notation.
NEARLY = st.text("0123456789:._-+eExXoObBTZ ynofYNOFtrueals~=<,#&*!|>'\"%@`[]{}?\n", max_size=10)


@settings(max_examples=300)
@given(VALUES | st.lists(NEARLY) | st.dictionaries(NEARLY, NEARLY))
@example({"k" * 2_000: {"\ufeff" * 512: 1}})
@example([[[]], [[1]], {"a": [{}, {"b": [[2, {"c": None}]]}]}])
@example(-0.0)
def test_what_is_written_is_read_back_by_every_reader(value: Any) -> None:
    dense = write_dense(value)
    assert canonical_bytes(json.loads(dense)) == canonical_bytes(read(dense)) == canonical_bytes(value)
    for text in (write_yaml(value), dense):
        assert canonical_bytes(read(text)) == canonical_bytes(value)
        # One of YAML 1.1, which takes more for numbers, times and truths.
        for loader in (yaml.SafeLoader, yaml.CSafeLoader):
            if text is not dense or "k" * 1_000 not in text:
                assert canonical_bytes(yaml.load(text, Loader=loader)) == canonical_bytes(value)


#: What JSON and PyYAML write without anything that only a reader of YAML 1.1 knows, as a number with an exponent in text.
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text("abnoyx-_.:# 0179~'\"\\", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abyn1", min_size=1), inner, max_size=4),
    max_leaves=20,
)


#: What PyYAML takes for text, and others do not: it writes them without quotes.
PYYAMLS = re.compile(r"(?:^|[ \[{,])(?:[yn]|[-+]?\.[0-9]\S*|0\S+)(?:$|[ :,\]}])", re.MULTILINE)


@settings(max_examples=200)
@given(PLAIN)
def test_what_others_write_is_read(value: Any) -> None:
    assert canonical_bytes(read(canonical_bytes(value).decode())) == canonical_bytes(value)

    class Whole(yaml.SafeDumper):
        def ignore_aliases(self, _: Any) -> bool:
            return True  # else it names what comes twice

    text = yaml.dump(value, Dumper=Whole)
    with suppress(UnreadableYaml) if PYYAMLS.search(text) else nullcontext():
        assert canonical_bytes(read(text)) == canonical_bytes(value)


@settings(max_examples=30)
@given(st.lists(NEW_ROUTES, max_size=3))
def test_routes_are_written_and_read(routes: Any) -> None:
    assert canonical_bytes(read(write_yaml({"routes": routes}))) == canonical_bytes({"routes": routes})


def test_it_looks_as_people_write_it() -> None:
    route = {
        "name": "short ones",
        "priority": 100,
        "enabled": True,
        "when": {"model_in": ["gpt-4o", "o1"], "metadata": {"team": ["no"]}, "any_of": [{"has_images": True}, {}]},
        "then": {"target_model": "gpt-4o-mini"},
    }
    assert write_yaml({"default": None, "routes": [route], "services": []}) == (
        "default: null\n"
        "routes:\n"
        "  - name: short ones\n"
        "    priority: 100\n"
        "    enabled: true\n"
        "    when:\n"
        "      model_in: [gpt-4o, o1]\n"
        "      metadata:\n"
        '        team: ["no"]\n'
        "      any_of:\n"
        "        - has_images: true\n"
        "        - {}\n"
        "    then:\n"
        "      target_model: gpt-4o-mini\n"
        "services: []\n"
    )


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_file_that_begins_with_a_brace_is_json() -> None:
    assert read_file('\ufeff {"a": 1}') == {"a": 1}
    assert read_file("a: 1") == {"a": 1}
    for text in ("{a: 1}", '{"a": 1, "a": 2}', '{"a": NaN}', "{" * 5_000):
        with pytest.raises(UnreadableFile):
            read_file(text)
    with pytest.raises(UnreadableYaml):
        read_file("\ud800")


# --- Whatever is sent -------------------------------------------------------------------------------------------------


def test_changed_files_are_read_or_refused_and_nothing_else() -> None:
    chance = Random(20261122)
    whole = write_yaml({"routes": [{"name": "é", "when": {"a": [1, -2.5e-7, None]}, "meta": {"x": "a\nb"}}], "s": {}})
    pieces = ["&a ", "*a", "!t ", "- ", "? ", ": ", "\n", "  ", "\t", "#", "'", '"', "[", "]", "{", "}", ",", "|", ">", "%",
              "---\n", "...\n", "<<: ", "\\", "\ufeff", "\x85", "0", "1e9", "~", "é", "\U0001f600"]  # fmt: skip
    good = 0
    for _ in range(ROUNDS):
        text = whole
        for _ in range(chance.randint(1, 6)):
            start = chance.randrange(len(text) + 1)
            text = text[:start] + chance.choice([*pieces, ""]) + text[start + chance.choice([0, 0, 1, 5]) :]
        data = text.encode()
        if chance.random() < 0.2:
            place = chance.randrange(len(data))
            data = data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
        with suppress(UnreadableYaml):
            canonical_bytes([read_yaml(data)])
            good += 1
    assert ROUNDS // 10 < good < ROUNDS - ROUNDS // 10


def test_without_libyaml_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a: [1, {b: 'c'}]\n", "- x\n- |\n  y\n", '{"a": "\\u00e9"}']
    found = [read(text) for text in texts]
    monkeypatch.delattr(yaml, "CBaseLoader")
    assert [read(text) for text in texts] == found
    for text in ("a: 1\na: 2", "a: &x 1", "[" * 500, "a: b: c", "a: \x1b", "&a " * 500):
        assert refused(text).startswith("Line 1") or "twice" in refused(text)
