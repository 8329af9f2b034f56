"""Rules of services, for tests: a store that holds one document, and counts how often it is read."""

from collections.abc import Iterable
from typing import Any

from routes.engine.document import Document
from routes.engine.errors import StoreUnavailable

ORG = "018f0000-0000-7000-8000-000000000001"


class ServicesStore:
    def __init__(self, *services: dict[str, Any]) -> None:
        self.version = 0
        self.reads = 0
        self.is_down = False
        self.set(*services)

    def set(self, *services: dict[str, Any]) -> None:
        self.version += 1
        content = {"default": None, "routes": [], "services": list(services)}
        self.document = Document.build(content, org_id=ORG, org_slug="acme", version=self.version)

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        if self.is_down:
            raise StoreUnavailable("down")
        return {org_id: self.version for org_id in org_ids if org_id == ORG}

    def fetch(self, org_id: str) -> Document | None:
        if self.is_down:
            raise StoreUnavailable("down")
        self.reads += 1
        return self.document if org_id == ORG else None


def a_service(slug: str = "web", *, enabled: bool = True, timeouts: Any = None, **paths: Any) -> dict[str, Any]:
    listed = [
        {"pattern": pattern, **({"target_url": target} if isinstance(target, str) else target)}
        for pattern, target in paths.pop("paths", {}).items()
    ]
    return {"slug": slug, "enabled": enabled, "timeouts": timeouts or {}, "paths": listed}
