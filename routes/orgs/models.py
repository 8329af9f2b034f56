"""Organisations, who belongs to them, and the keys that act for their people."""

import re
import uuid
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from audit.actors import Actor
from routes.engine.ids import uuid7

SLUG = re.compile(r"[a-z][a-z0-9-]{1,62}", re.ASCII)


def check_slug(slug: str) -> None:
    """Raises `ValidationError`. A slug that reads as a UUID would shadow the id of another organisation in URLs."""
    if not SLUG.fullmatch(slug):
        raise ValidationError("Use 2 to 63 lower-case letters, digits and hyphens, beginning with a letter.")
    try:
        uuid.UUID(slug)
    except ValueError:
        return
    raise ValidationError("This reads as an id. Choose something with other letters.")


def new_id() -> uuid.UUID:
    """A new UUIDv7: sorts by the time of its making."""
    return uuid.UUID(str(uuid7()))


class Role(models.TextChoices):
    """What somebody may do in an organisation. Each role contains the ones before it."""

    VIEWER = "viewer", "Viewer: reads"
    EDITOR = "editor", "Editor: edits routes and makes plans"
    APPROVER = "approver", "Approver: approves, applies and reverts plans"
    ADMIN = "admin", "Admin: manages members, keys and policy"

    def includes(self, other: str) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(Role(other))


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def of_person(self, user: Any) -> "OrganizationQuerySet":
        """Those that this person may at least read: all for installation staff (superusers)."""
        if user.is_superuser:
            return self
        return self.filter(memberships__user=user)


class Organization(models.Model):
    """A tenant. An environment (staging, production) is an organisation of its own. Never deleted: the log names it."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        FROZEN = "frozen"
        CLOSED = "closed"

    class Approval(models.TextChoices):
        NONE = "none", "Nobody has to approve"
        PLANS = "plans", "A plan needs a second person"
        ALL = (
            "all",
            "Every change is a plan and needs a second person; only to pause a route or revert a plan takes one",
        )

        def is_looser_than(self, other: str) -> bool:
            order = list(type(self))
            return order.index(self) < order.index(type(self)(other))

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.CharField(
        max_length=63,
        unique=True,
        validators=[check_slug],
    )
    name = models.CharField(max_length=200)
    environment = models.CharField(max_length=50, blank=True, help_text="For example production or staging.")
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    #: The counter of publications. Only `routes.publish` changes it; gateways key their caches on it.
    version = models.PositiveBigIntegerField(default=0)
    placement_epoch = models.PositiveBigIntegerField(default=0)
    #: Since when, by whom and why nothing may be changed; together with the status.
    frozen_at = models.DateTimeField(null=True, editable=False)
    frozen_by_name = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    frozen_reason = models.TextField(blank=True, default="", db_default="", editable=False)
    approval = models.CharField(max_length=10, choices=Approval, default=Approval.NONE)
    #: A looser policy, proposed by one admin, which another one has to confirm; "" for none.
    approval_proposed = models.CharField(
        max_length=10, choices=Approval, blank=True, default="", db_default="", editable=False
    )
    approval_proposed_by = models.CharField(max_length=100, blank=True, default="", db_default="", editable=False)
    approval_proposed_by_name = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    approval_proposed_at = models.DateTimeField(null=True, editable=False)
    #: The action for requests that no route takes, in the document's keys; null: they pass unchanged. Part of what is
    #: published; `routes.rules.services.set_default` writes it.
    default_action = models.JSONField(null=True, blank=True, editable=False)
    #: Networks and ports to which its services may lead though they are not public: `[{"network", "port"}]`. Only staff of
    #: the installation gives them; `routes.orgs.upstreams` writes it.
    private_upstreams = models.JSONField(
        default=list, db_default=Value([], models.JSONField()), blank=True, editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="frozen", frozen_at__isnull=False)
                | (~Q(status="frozen") & Q(frozen_at__isnull=True)),
                name="organization_frozen_has_its_time",
            ),
            models.CheckConstraint(
                condition=Q(approval_proposed="", approval_proposed_at__isnull=True)
                | (~Q(approval_proposed="") & Q(approval_proposed_at__isnull=False)),
                name="organization_approval_proposed_has_its_time",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.slug


class Membership(models.Model):
    """A person's role in an organisation."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["org", "user"]
        constraints = [
            models.UniqueConstraint(fields=["org", "user"], name="membership_once_per_person_and_org"),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.org}"


class ApiKey(models.Model):
    """A credential of a program. The secret is shown once; only its digest is kept."""

    class Kind(models.TextChoices):
        MANAGEMENT = "management", "Management: acts for you through the API"
        GATEWAY = "gateway", "Gateway: reads what it runs, reports itself, sends logs"
        TRAFFIC = "traffic", "Traffic: sends requests to gateways"

    #: The public part of the key, `rk_<kind>_<id>_<secret>`; names the key in lists and logs.
    id = models.CharField(primary_key=True, max_length=16, editable=False)
    kind = models.CharField(max_length=10, choices=Kind)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="api_keys", null=True, blank=True)
    role = models.CharField(max_length=10, choices=Role, blank=True)
    name = models.CharField(max_length=100)
    #: The person for whom a management key acts: it never exceeds that person's role of the moment.
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_keys")
    #: HMAC-SHA-256 of the whole key under the numbered pepper; plain SHA-256, without pepper, for traffic keys.
    digest = models.BinaryField(max_length=32)
    pepper = models.PositiveSmallIntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    #: Of a traffic key: what every request that comes with it has in its metadata, whatever its body says; texts by name.
    metadata = models.JSONField(default=dict, db_default=Value({}, models.JSONField()), blank=True, editable=False)
    #: Of a traffic key: whether its requests may name the route that is to take them.
    allows_force = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(kind="management") | (Q(org__isnull=False) & ~Q(role="")),
                name="api_key_for_management_has_org_and_role",
            ),
            models.CheckConstraint(
                condition=~Q(kind="traffic") | Q(org__isnull=False), name="api_key_for_traffic_has_org"
            ),
            models.CheckConstraint(
                condition=Q(kind="traffic") | Q(allows_force=False), name="api_key_allows_force_only_for_traffic"
            ),
            models.CheckConstraint(
                condition=Q(kind="traffic", pepper__isnull=True) | (~Q(kind="traffic") & Q(pepper__isnull=False)),
                name="api_key_has_a_pepper_unless_for_traffic",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at")),
                name="api_key_expires_after_it_was_made",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} (rk_{self.kind}_{self.id}_…)"

    @property
    def is_valid(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    def as_actor(self) -> Actor:
        """Who the audit log names for acts of this key: the key, for management on behalf of the person who made it."""
        if self.kind != self.Kind.MANAGEMENT:
            return Actor(type="api_key", id=self.id, name=f"{self.kind} key {self.name}")
        name = f"{self.made_by.get_username()}, by key {self.name}"
        return Actor(type="api_key", id=self.id, on_behalf_of=str(self.made_by_id), name=name)
