"""What is exported is not too large for any door that takes it back."""

from itertools import product
from string import ascii_lowercase
from typing import Any

import pytest
from django.conf import settings as site

from routes import engine
from routes.document import content_with
from routes.engine.canonical import canonical_bytes
from routes.orgs.models import new_id
from routes.publish import MAX_BYTES, MAX_ROUTES
from routes.transfer import files, notation
from routes.transfer.files import read_file, written
from routes.transfer.notation import read_yaml
from routes.transfer.services import Exported

THEN = {"target_model": "m"}
LETTERS = ["".join(pair) for pair in product(ascii_lowercase, repeat=2)]


def nested(inner: Any, levels: int) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


def conditions(inner: dict[str, Any]) -> dict[str, Any]:
    """As deep as conditions may be."""
    return {"any_of": [{"not": {"any_of": [inner]}}]}


#: Routes of which 4 MiB are much in a file: by what is in them.
COSTLY: dict[str, dict[str, Any]] = {
    "texts": {"when": conditions({"model_in": LETTERS[:256], "model_matches": LETTERS[256:512]})},
    "names": {"when": conditions({"numbers": {name: {"gt": 1} for name in LETTERS[:256]}})},
    "nothing": {"when": {"any_of": [{"any_of": [{"any_of": [{}] * 16}] * 16}]}},
    "escapes": {"when": {"model_in": [f"{'\ufffe' * 509}{name}" for name in LETTERS[:6]]}},
    "figures": {"meta": {"x-a": [1e-7] * 800}},
    "empty lists": {"meta": {"x-a": nested([[]] * 1_300, 20)}},
    "lists": {"meta": {"x-a": nested([[1]] * 1_000, 20)}},
}


def largest(costly: dict[str, Any], parts_of: int) -> dict[str, Any]:
    """As many of such a route as there may be, or this part of them, with the costly part as often as it may be."""
    if parts := costly.get("meta"):
        costly = {"meta": {f"x-{letter}": parts["x-a"] for letter in ascii_lowercase}}
    raw = {"id": str(new_id()), "name": "a", "then": THEN, **costly}
    route = engine.Route.from_dict(raw).to_dict()
    count = -(-min((MAX_BYTES - 100) // (len(canonical_bytes(route)) + 4), MAX_ROUTES) // parts_of)
    content = content_with(
        [{**route, "id": str(new_id()), "name": f"{n:04d}"} for n in range(count)], default=None, services=()
    )
    assert count * parts_of >= MAX_ROUTES or len(canonical_bytes(content)) * parts_of > MAX_BYTES * 0.95
    return content


#: Whole of one kind, and of each a part beside a part of every limit: what is in a route decides how its file grows.
@pytest.mark.parametrize(("kind", "parts_of"), [("nothing", 1), *((kind, 10) for kind in COSTLY)])
def test_the_export_of_the_largest_content_is_taken_back_by_every_door(
    monkeypatch: pytest.MonkeyPatch, kind: str, parts_of: int
) -> None:
    monkeypatch.setattr(files, "_LARGE", files._LARGE // parts_of)
    content = largest(COSTLY[kind], parts_of)
    for data in {written(Exported(1, content), name) for name in files.MEDIA_TYPES}:
        assert len(data) * parts_of <= notation.MAX_BYTES, "the page's, for a file"
        # The page sends it back as text, with another end of each line, and the API takes it in an object.
        assert (len(data) + data.count(b"\n")) * parts_of + 20_000 < site.DATA_UPLOAD_MAX_MEMORY_SIZE
        assert read_file(data.decode()) == content
        assert read_yaml(b'{"mode": "replace", "content": %s}' % data)["content"] == content, "as YAML"
