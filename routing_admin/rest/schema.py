"""The OpenAPI document, made of what the views state of themselves."""

import inspect
import json
import re
import shlex
from typing import Any, Final

import django_filters
from django.urls import resolve
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from rest_framework import serializers

from routes.api import NumberField, StrictSerializer, View
from routes.filters import FlagFilter, TextFilter, TimeFilter, WholeFilter
from routes.orgs.access import GATEWAY, INSTALLATION
from routes.shapes import TEXT, Shape, described, one_of, or_null, text, whole
from routes.transfer.files import MEDIA_TYPES, YAML
from routes.transfer.notation import write_yaml
from routing_admin.rest.filters import MAX_SEARCH, MAX_WORDS
from routing_admin.rest.headers import stated
from routing_admin.rest.pagination import Pages

type Operation = dict[str, Any]

#: What resources there are, and what they are.
TAGS: Final = {
    "orgs": "Organisations",
    "members": "Members",
    "api-keys": "Keys",
    "routes": "Routes",
    "services": "Services",
    "examples": "Examples",
    "versions": "History",
    "prices": "Prices",
    "gateways": "Gateways",
    "placements": "Placements",
    "request-logs": "Request logs",
    "plans": "Plans",
    "audit": "Audit log",
}
_TAG_OF: Final = {
    "decide": "routes",
    "snapshot": "routes",
    "private-upstreams": "services",
    "gateway": "gateways",
    "freeze": "orgs",
    "unfreeze": "orgs",
    "approval": "orgs",
}
_WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
_PATH: Final[dict[str, Shape]] = {
    "org": described(TEXT, "The organisation, by its slug or its id."),
    "instance": described(TEXT, "The name that the gateway gives itself."),
    "partition": described(TEXT, "Its name; `*` stands for all that were not placed themselves."),
    "id": TEXT,
}
#: Statuses of refusals that operations name.
CODES: Final = (400, 401, 403, 404, 406, 409, 410, 411, 412, 413, 415, 422, 428, 429, 503)


def problem_name(code: int) -> str:
    """Under which the component stands that is the answer with this status."""
    return f"Problem{code}"


def has_etag(view: type[Any]) -> bool:
    return getattr(view, "etag", View.etag) is not View.etag


class Operations(AutoSchema):
    """One operation of a view of ours; serializers of bodies are mapped by drf-spectacular."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> Operation | None:
        self.registry, self.path, self.path_regex = registry, path, path_regex
        self.path_prefix, self.method = path_prefix, method.upper()
        if self.method not in self.view.required_role:
            return None
        status, shape = self._answer()
        takes, example = self.view_takes.get(self.method), getattr(self.view, "examples", {}).get(self.method)
        handler = getattr(type(self.view), method.lower())
        of_view = type(self.view).__doc__ or ""
        about = getattr(self.view, "about", "") or inspect.cleandoc(handler.__doc__ or of_view)
        if handler.__doc__ and method.lower() not in vars(type(self.view)):
            about += f"\n\n{inspect.cleandoc(of_view)}"  # what is special about the same under another URL
        paragraphs = [re.sub(r"\s+", " ", paragraph) for paragraph in about.split("\n\n")]
        operation: Operation = {
            "operationId": f"{method.lower()}_{self.url_name}",
            "tags": [self.tag],
            "summary": paragraphs[0].partition(". ")[0].rstrip(".") + ".",
            "description": "\n\n".join([*paragraphs, self._needs()]),
            "parameters": self._parameters(),
            "security": self._security(),
            "responses": self._responses(status, shape),
            "x-codeSamples": [{"lang": "curl", "source": line} for line in self._curls(example)],
        }
        if takes is not None:
            content: dict[str, Any] = {"schema": self._named(takes)}
            if example is not None:
                content["example"] = example
            media_types = [parser.media_type for parser in self.view.parser_classes]
            operation["requestBody"] = {"required": True, "content": dict.fromkeys(media_types, content)}
        return operation

    @property
    def view_takes(self) -> dict[str, Any]:
        return getattr(self.view, "takes", {})

    @property
    def url_name(self) -> str:
        """Like `plan_apply`."""
        return str(resolve(re.sub(r"{\w+}", "1", self.path)).url_name)

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and hasattr(self.view, "orderings")

    @property
    def answers_etag(self) -> bool:
        return self.method == "GET" and (self.has_etag or getattr(self.view, "answers_etag", False))

    @property
    def tag(self) -> str:
        parts = self.path.removeprefix("/api/v1/").removeprefix("orgs/{org}/").split("/")
        first = parts[0] or "orgs"
        return TAGS[_TAG_OF.get(first, first)]

    @property
    def has_etag(self) -> bool:
        """Whether what the URL names has an ETag that writes of it need."""
        return has_etag(type(self.view))

    # --- What is sent -----------------------------------------------------------------------------------------------

    @property
    def _needed(self) -> list[str]:
        needs = self.view.required_role[self.method]
        return [needs] if isinstance(needs, str) else list(needs)

    def _needs(self) -> str:
        return f"Needs: {' or '.join(self._needed)}."

    def _security(self) -> list[dict[str, list[str]]]:
        """Schemes of `components.securitySchemes`: no key is of installation staff, and no session is a gateway."""
        session: dict[str, list[str]] = {"session": [], **({"csrf": []} if self.method in _WRITES else {})}
        found: list[dict[str, list[str]]] = []
        if self._needed != [INSTALLATION]:
            found.append({"key": []})
        if self._needed != [GATEWAY]:
            found.append(session)
        return found

    def _parameters(self) -> list[dict[str, Any]]:
        found = [_parameter(name, "path", self._path_shape(name)) for name in re.findall(r"{(\w+)}", self.path)]
        if self.method == "GET":
            found += self._list_parameters()
            required = getattr(self.view, "required_parameters", ())
            for name, shape in getattr(self.view, "asks", {}).items():
                found.append(_parameter(name, "query", shape, required=name in required))
            if self.answers_etag:
                told = "The ETag of what the caller has: 304 where it is that still."
                found.append(_parameter("If-None-Match", "header", described(TEXT, told)))
            return found
        if getattr(self.view, "writes", False):
            asked = {"type": "string", "enum": ["1", "0", "true", "false"]}
            found.append(_parameter("dry_run", "query", described(asked, "1: is answered alike, and changes nothing.")))
            found += [_parameter(name, "query", shape) for name, shape in self.view.parameters.items()]
            if self._keeps_answers():
                key = text(pattern=r"^[\x21-\x7e]{1,255}$")
                told = "The same key and body again have no second effect, for 24 hours."
                found.append(_parameter("Idempotency-Key", "header", described(key, told)))
            if self._looks_at_match():
                told = "The ETag of what the caller saw. `*`: whatever there is."
                needed: dict[str, Any] = {"required": True, "example": "*"} if self._needs_match() else {}
                found.append(_parameter("If-Match", "header", described(TEXT, told), **needed))
        return found

    def _path_shape(self, name: str) -> Shape:
        return {"type": "integer"} if f"<int:{name}>" in self.path_regex else _PATH[name]

    def _needs_match(self) -> bool:
        return self._is_of_list or (self.method in ("PUT", "PATCH", "DELETE") and self.has_etag)

    @property
    def _is_of_list(self) -> bool:
        """Whether it changes many routes, and needs the ETag of their list."""
        return self.method == "POST" and getattr(self.view, "needs_list_match", False)

    def _looks_at_match(self) -> bool:
        return self._needs_match() or (self.method == "POST" and self.has_etag)

    def _keeps_answers(self) -> bool:
        return self.method == "POST" and bool(self.view.writes and self.view.keeps_answers)

    def _list_parameters(self) -> list[dict[str, Any]]:
        if not self.is_list:
            return []
        shapes: dict[str, Shape] = {
            "limit": described({**whole(1, Pages.max_page_size), "default": Pages.page_size}, "Of objects on a page."),
            "cursor": described(TEXT, "From `next` or `previous`."),
        }
        if orderings := [name for name in self.view.orderings if name]:
            shapes["ordering"] = one_of(*orderings)
        if fields := getattr(self.view, "search_fields", ()):
            words = ", ".join(field.replace("__", " ") for field in fields)
            told = f"Words, {MAX_WORDS} at most, that are all in: {words}."
            shapes["search"] = described(text(longest=MAX_SEARCH), told)
        filters = getattr(self.view, "filterset_class", None)
        for name, declared in (filters.base_filters if filters else {}).items():
            shapes[name] = _filter_shape(declared)
        for name, shape in getattr(self.view, "filters", {}).items():
            shapes[name] = shape
        return [_parameter(name, "query", shape) for name, shape in shapes.items()]

    # --- What is answered -------------------------------------------------------------------------------------------

    def _answer(self) -> tuple[int, Shape]:
        gives = self.view.gives[self.method]
        return gives if isinstance(gives, tuple) else (200, gives)

    def _responses(self, status: int, shape: Shape) -> dict[str, Any]:
        if self.is_list:
            link = described(or_null({"type": "string", "format": "uri"}), "The URL of the page there.")
            shape = {
                "type": "object",
                "properties": {"results": {"type": "array", "items": shape}, "next": link, "previous": link},
                "required": ["results", "next", "previous"],
                "additionalProperties": False,
            }
        answer: dict[str, Any] = {
            "description": "Made." if status == 201 else "As it is now.",
            "headers": stated(*self._headers(status)),
            "content": {media_type: {"schema": self._named(shape)} for media_type in self._media_types()},
        }
        found: dict[str, Any] = {str(status): answer}
        if self.answers_etag:
            found["304"] = {"description": "The caller has it.", "headers": stated("ETag")}
        codes = [400, 401, 403, 404, 406, 422, 429, 503]
        if self.method in _WRITES:
            codes += [409, 411]
        if self.method in self.view_takes:
            codes += [413, 415]
        if self._looks_at_match():
            codes += [412]
        if self._needs_match():
            codes += [428]
        codes += getattr(self.view, "refuses", ())
        return found | {str(code): {"$ref": f"#/components/responses/{problem_name(code)}"} for code in sorted(codes)}

    def _media_types(self) -> list[str]:
        return [renderer.media_type for renderer in self.view.renderer_classes]

    def _headers(self, status: int) -> list[str]:
        """Components of the headers that an answer with this status may have, beside those of all answers."""
        if self.method == "GET":
            return [] if not self.answers_etag else ["ETag" if self.has_etag else "ETagIfAny"]
        found = []
        if status == 201:
            found.append("Location")
            # A list makes what lies under it, another object one of its own kind.
            made: Any = None if self.has_etag else resolve(re.sub(r"{\w+}", "1", f"{self.path}1/")).func
            if made is None or has_etag(made.cls):
                found.append("ETagWritten")
        elif (self.has_etag or self._needs_match()) and not self._takes_away():
            found.append("ETagWritten")
        if self._keeps_answers():
            found.append("Idempotency-Replayed")
        return found

    def _takes_away(self) -> bool:
        """A DELETE that answers what PUT does sets back."""
        return self.method == "DELETE" and self.view.gives["DELETE"] is not self.view.gives.get("PUT")

    # --- Shapes -----------------------------------------------------------------------------------------------------

    def _named(self, shape: Any) -> Any:
        """The shape with its titled parts in the registry, and references in their place."""
        if isinstance(shape, type) and issubclass(shape, serializers.Serializer):
            found: Shape = self.resolve_serializer(shape, "request").ref
            return found
        if isinstance(shape, list):
            return [self._named(part) for part in shape]
        if not isinstance(shape, dict):
            return shape
        written = {key: self._named(part) for key, part in shape.items()}
        title = written.get("title")
        if not isinstance(title, str) or shape.get("type") != "object":
            return written
        del written["title"]
        component = ResolvedComponent(name=title, type=ResolvedComponent.SCHEMA, object=title, schema=written)
        self.registry.register_on_missing(component)
        reference: Shape = component.ref
        return reference

    def _map_serializer_field(self, field: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        if (shape := getattr(field, "shape", None)) is not None:
            return self._named(shape)
        if isinstance(field, NumberField):
            return {"type": ["number", "null"] if field.allow_null else "number"}
        return super()._map_serializer_field(field, direction, bypass_extensions)

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)
        return {**schema, "additionalProperties": False} if isinstance(serializer, StrictSerializer) else schema

    # --- In words ---------------------------------------------------------------------------------------------------

    def _curls(self, example: Any) -> list[str]:
        """A line for each form in which the body may come."""
        if self.method not in self.view_takes:
            return [self._curl()]
        return [self._curl(parser.media_type, example) for parser in self.view.parser_classes]

    def _curl(self, media_type: str | None = None, example: Any = None) -> str:
        url = self.path.replace("{org}", "acme").replace("{instance}", "edge-1").replace("{id}", "$ID")
        url = url.replace("{partition}", "tenant-7")
        url = url.replace("{seq}", "$SEQ") + getattr(self.view, "example_query", "")
        parts = [f'curl "$URL{url}"' if self.method == "GET" else f'curl -X {self.method} "$URL{url}"']
        if {"key": []} in self._security():
            parts.append('-H "Authorization: Bearer $KEY"')
        elif self.method in _WRITES:
            # Over HTTPS Django also asks from which page the token comes.
            parts += ['-b "sessionid=$SESSION; csrftoken=$CSRF" -H "X-CSRFToken: $CSRF"', '-H "Referer: $URL/"']
        else:
            parts.append('-b "sessionid=$SESSION"')
        if self._needs_match():
            parts.append('-H "If-Match: $ETAG"')
        if "application/zip" in self._media_types():
            parts.append("--output audit.zip")
        if media_type is not None:
            body = example.strip() if isinstance(example, str) else _written(example, media_type)
            parts += [f'-H "Content-Type: {media_type}"', f"--data-binary {shlex.quote(body)}"]
        return " \\\n  ".join(parts)


def _written(example: Any, media_type: str) -> str:
    return write_yaml(example).strip() if media_type == MEDIA_TYPES[YAML] else json.dumps(example)


def _parameter(name: str, where: str, shape: Shape, *, required: bool = False, example: str | None = None) -> Any:
    told: dict[str, Any] = {"name": name, "in": where, "required": required or where == "path"}
    shape = dict(shape)
    if (description := shape.pop("description", None)) is not None:
        told["description"] = description
    if example is not None:
        told["example"] = example
    return {**told, "schema": shape}


def _filter_shape(declared: Any) -> Shape:
    shape: Shape = TEXT
    if isinstance(declared, django_filters.MultipleChoiceFilter):
        values = [value for value, _ in declared.extra["choices"]]
        shape = {"type": "array", "items": one_of(*values)}
    elif isinstance(declared, django_filters.ChoiceFilter):
        shape = one_of(*(value for value, _ in declared.extra["choices"]))
    elif isinstance(declared, FlagFilter):
        shape = {"type": "boolean"}
    elif isinstance(declared, django_filters.UUIDFilter):
        shape = {"type": "string", "format": "uuid"}
    elif isinstance(declared, WholeFilter):
        shape = whole(declared.extra["min_value"], declared.extra["max_value"])
    elif isinstance(declared, TimeFilter):
        shape = {"type": "string", "format": "date-time"}
    elif isinstance(declared, TextFilter):
        shape = text(least=1, longest=500)
    return shape
