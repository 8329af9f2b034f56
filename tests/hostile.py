"""Texts that attack whoever shows them, and what a page made of them."""

import json
import re
import unicodedata
from collections import Counter
from functools import cache

from selectolax.lexbor import LexborHTMLParser

from routes.engine.reading import unsupported_in
from tests.paths import shared

#: Of the shared strings, those that a browser, a template or a spreadsheet would act on, come first. Beside them a few of
#: our own, which tell when they run.
_ACTS = re.compile(r"<|javascript:|\{\{|\{%|\$\{|on\w+=|expression|^[=+@-]", re.IGNORECASE)
#: Calls what `tests/browser/test_hostile_texts.py` listens for.
OWN = (
    "<script>canary(1)</script>",
    "<img src=x onerror=canary(2)>",
    '"><svg onload=canary(3)>',
    "' autofocus onfocus='canary(4)",
    '" autofocus onfocus="canary(5)" x="',
    "javascript:canary(6)",
    "</script><script>canary(7)</script>",
    "</textarea><script>canary(8)</script>",
    "</title><script>canary(9)</script>",
    "--><script>canary(10)</script>",
    "{{constructor.constructor('canary(11)')()}}",
    "${canary(12)}",
    "{% csrf_token %}{{ request.user }}",
    "</style><style>*{display:none}</style>",
    "x:expression(canary(13));background:url(javascript:canary(14))",
    "<iframe srcdoc='<script>parent.canary(15)</script>'>",
    "\u202ebidi\u202d <b onmouseover=canary(16)>",
    '=HYPERLINK("https://evil.example","canary")',
    "&lt;script&gt;canary(17)&lt;/script&gt;",
    "\\u003cscript\\u003ecanary(18)\\u003c/script\\u003e",
    "<a href='data:text/html,<script>canary(19)</script>'>x</a>",
    "%3Cscript%3Ecanary(20)%3C%2Fscript%3E",
    "<template><script>canary(21)</script></template>",
    "<math><mi xlink:href='javascript:canary(22)'>x</mi></math>",
)


@cache
def strings() -> list[str]:
    """Those that act first."""
    found = json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))
    acting = [text for text in found if _ACTS.search(text)]
    return list(dict.fromkeys([*OWN, *acting, *found]))


#: Beside strings that are no markup: what would be an element that no page has, wherever a page forgets to escape.
PROBE = "<x-probe y>"
#: So many a world takes, about.
A_WORLD = 130


class Texts:
    """Stands for `World.text`: at each place another string, as far as a name may be so. `given`: by what would stand there
    otherwise, what does."""

    def __init__(self, some: list[str], first: int = 0) -> None:
        self._some = [text for text in some if text.strip() == text and text and not unsupported_in(text)]
        self._next = first
        self.given: dict[str, list[str]] = {}

    def __call__(self, tame: str, most: int = 200) -> str:
        for _ in self._some:
            text = self._some[self._next % len(self._some)]
            self._next += 1
            if "<" not in text and len(text) + len(PROBE) <= most:
                text += PROBE
            # Names of people are normalised.
            if len(text) <= most and unicodedata.normalize("NFKC", text) == text:
                self.given.setdefault(tame, []).append(text)
                return text
        raise AssertionError(f"None fits in {most} characters")


# --- What a page made of them -----------------------------------------------------------------------------------------

Shape = Counter[tuple[str, tuple[str, ...]]]
#: What a browser follows or runs, by the name of the attribute.
_FOLLOWED = {"href", "src", "action", "formaction", "xlink:href", "srcdoc", "data", "poster", "ping"}
#: Without a scheme it stays here; `data:,` is the icon of a page that has none.
_HARMLESS = re.compile(r"(?![a-z][a-z0-9+.-]*:)|https?://|data:(?:image/|,$)", re.IGNORECASE)


class Shown:
    """A page as a browser reads it: its `shape`, elements with the names of their attributes; its `text` and the values of
    its attributes without white space, which pages break as they like; and what in it is `followed` and should not be."""

    def __init__(self, html: str) -> None:
        self.shape: Shape = Counter()
        self.followed: list[str] = []
        self.scripts = 0
        texts, values = [], []
        root = LexborHTMLParser(html).root
        assert root is not None
        for node in root.traverse(include_text=True):
            if node.tag == "-text":
                texts.append(node.text(deep=False))
                continue
            attributes = {name: (value or "").strip() for name, value in node.attributes.items()}
            self.shape[node.tag, tuple(sorted(attributes))] += 1
            self.scripts += node.tag == "script"
            values += attributes.values()
            self.followed += [
                f"{node.tag} {name}={value}"
                for name, value in attributes.items()
                if name.startswith("on") or (name in _FOLLOWED and not _HARMLESS.match(value))
            ]
        self.text, self.values = bare("".join(texts)), bare("\0".join(values))

    def shows(self, text: str) -> bool:
        """As it is, or as a string of the JSON that a page shows."""
        ways = {bare(text), *(bare(json.dumps(text, ensure_ascii=ascii)[1:-1]) for ascii in (True, False))}
        return any(way in self.text or way in self.values for way in ways)


def rounds_of(count: int, first: int) -> list[Texts]:
    """So many ways to fill a world, each with the strings that the one before did not come to."""
    return [Texts(strings(), first=(first + number) * A_WORLD) for number in range(count)]


def bare(text: str) -> str:
    return re.sub(r"\s+", "", text)
