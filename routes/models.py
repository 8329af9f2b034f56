"""The models of all subjects of this application, in one place for Django."""

from routes.catalog.models import ModelPrice, PriceEdition
from routes.examples.models import ExampleRequest
from routes.fleet.models import GatewayInstance
from routes.idempotency.models import IdempotencyKey
from routes.orgs.models import ApiKey, Membership, Organization
from routes.paths.models import Service, ServiceHost
from routes.placements.models import Placement
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion

__all__ = [
    "ApiKey",
    "ExampleRequest",
    "GatewayInstance",
    "IdempotencyKey",
    "Membership",
    "ModelPrice",
    "Organization",
    "Placement",
    "PriceEdition",
    "Route",
    "RouteSetVersion",
    "Service",
    "ServiceHost",
]
