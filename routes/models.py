"""The models of all subjects of this application, in one place for Django."""

from routes.catalog.models import ModelPrice
from routes.orgs.models import ApiKey, Membership, Organization
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion

__all__ = ["ApiKey", "Membership", "ModelPrice", "Organization", "Route", "RouteSetVersion"]
