"""`orgs/`, and of an organisation `members/` and `api-keys/`; outside of all, `api-keys/` for gateways of all."""

from collections.abc import Callable
from copy import copy
from hashlib import sha256
from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.services import Receipt
from routes.api import ListView, StrictSerializer, TextField, TextsField, TimeField, View, receipt_json
from routes.engine.canonical import canonical_bytes
from routes.orgs import keys, members, policy
from routes.orgs.filters import KeyFilters, MemberFilters, OrganizationFilters
from routes.orgs.models import ApiKey, Membership, Organization, Role
from routes.orgs.services import StaleOrganization, create_organization, update_organization
from routes.shapes import COUNT, FLAG, RECEIPT, TEXT, TIME, UUID, by_name, described, one_of, or_null, thing, written
from routes.times import rfc3339

# --- Organisations ----------------------------------------------------------------------------------------------------


class OrganizationInput(StrictSerializer):
    slug = TextField(max_length=63)
    name = TextField(max_length=200)
    environment = TextField(max_length=50, default="", allow_blank=True)
    approval = serializers.ChoiceField(Organization.Approval.choices, default=Organization.Approval.NONE)


class OrganizationChange(StrictSerializer):
    name = TextField(max_length=200, required=False)
    environment = TextField(max_length=50, allow_blank=True, required=False)
    approval = serializers.ChoiceField(Organization.Approval.choices, required=False)


class ApprovalInput(StrictSerializer):
    #: The one that the caller saw proposed.
    approval = serializers.ChoiceField(Organization.Approval.choices)


class FreezeInput(StrictSerializer):
    reason = TextField(lines=True, max_length=10_000)


ORGANIZATION = thing(
    "Organization",
    {
        "id": UUID,
        "slug": TEXT,
        "name": TEXT,
        "environment": TEXT,
        "status": one_of(*Organization.Status.values),
        "version": described(COUNT, "Of what is live."),
        "freeze": described(
            or_null(thing("Freeze", {"at": TIME, "by": TEXT, "reason": TEXT})), "Where nothing can be changed: why."
        ),
        "approval": one_of(*Organization.Approval.values),
        "approval_proposed": described(
            or_null(
                thing("ProposedApproval", {"approval": one_of(*Organization.Approval.values), "at": TIME, "by": TEXT})
            ),
            "A looser policy, which another admin has to confirm.",
        ),
        "created_at": TIME,
    },
)


def organization_json(org: Organization) -> dict[str, Any]:
    return {
        "id": str(org.pk),
        "slug": org.slug,
        "name": org.name,
        "environment": org.environment,
        "status": org.status,
        "version": org.version,
        "freeze": {"at": rfc3339(org.frozen_at), "by": org.frozen_by_name, "reason": org.frozen_reason}
        if org.frozen_at
        else None,
        "approval": org.approval,
        "approval_proposed": {
            "approval": org.approval_proposed,
            "at": rfc3339(org.approval_proposed_at),
            "by": org.approval_proposed_by_name,
        }
        if org.approval_proposed
        else None,
        "created_at": rfc3339(org.created_at),
    }


def organization_etag(org: Organization) -> str:
    """Two parts: of what PATCH writes, and of all that is shown, which also has the version of the routes."""
    shown = organization_json(org)
    fields = (*OrganizationChange().fields, "approval_proposed")
    written = {name: shown[name] for name in fields}
    return f"{_etag('o', written)[:-1]}-{_etag('v', shown)[1:]}"


def _etag(kind: str, shown: dict[str, Any]) -> str:
    return f'"{kind}{sha256(canonical_bytes(shown)).hexdigest()[:16]}"'


ORGANIZATION_WRITTEN = written(
    "OrganizationWritten", {"organization": ORGANIZATION, "changed": FLAG, "receipt": or_null(RECEIPT)}
)


class OrganizationList(ListView):
    """`orgs/`: made by installation staff."""

    required_role = {"GET": "anybody", "POST": "installation"}
    takes = {"POST": OrganizationInput}
    gives = {"GET": ORGANIZATION, "POST": (201, written("OrganizationMade", {"organization": ORGANIZATION}))}
    examples = {"POST": {"slug": "umbrella", "name": "Umbrella"}}
    orderings = {"": ("slug",), "created_at": ("created_at", "id"), "-created_at": ("-created_at", "-id")}
    filterset_class = OrganizationFilters
    search_fields = ("slug", "name")

    def get(self, request: Request, **_: Any) -> Response:
        """The organisations that the caller may read."""
        rows = Organization.objects.of_person(request.user)
        if isinstance(request.auth, ApiKey):
            rows = rows.filter(pk=request.auth.org_id)
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response([organization_json(org) for org in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        """Makes an organisation."""
        given = OrganizationInput(data=request.data)
        given.is_valid(raise_exception=True)
        org = create_organization(by=request.actor, **given.validated_data)
        headers = {"Location": f"{request.path}{org.slug}/", "ETag": organization_etag(org)}
        return Response({"organization": organization_json(org)}, status=201, headers=headers)


class OrganizationDetail(View):
    """What an organisation is called, and what needs approval there."""

    required_role = {"GET": "viewer", "PATCH": "admin"}
    takes = {"PATCH": OrganizationChange}
    gives = {"GET": ORGANIZATION, "PATCH": ORGANIZATION_WRITTEN}
    examples = {"PATCH": {"environment": "production"}}

    def etag(self) -> str:
        return organization_etag(self.request.org)

    def names_state(self, tag: str, etag: str) -> bool:
        """By what PATCH writes: else everybody who publishes a change would be in the way of who renames."""
        return tag.partition("-")[0] == etag.partition("-")[0]

    def get(self, request: Request, **_: Any) -> Response:
        """One organisation."""
        return Response(organization_json(request.org), headers={"ETag": self.etag()})

    def patch(self, request: Request, **_: Any) -> Response:
        """Changes the name, the environment or the approval policy. A looser one is only proposed: another admin has to
        confirm it."""
        given = OrganizationChange(data=request.data)
        given.is_valid(raise_exception=True)
        if self.is_stale:
            raise StaleOrganization(request.org)
        receipt = update_organization(request.org, seen=copy(request.org), by=request.actor, **given.validated_data)
        return _written(request.org, receipt)


class OrganizationStep(View):
    """One step of what an organisation's admins decide. An If-Match that is sent must name the organisation as it is."""

    required_role = {"POST": "admin"}
    gives = {"POST": ORGANIZATION_WRITTEN}
    step: Callable[..., Receipt | None] | None = None

    def etag(self) -> str:
        return organization_etag(self.request.org)

    def post(self, request: Request, **_: Any) -> Response:
        given = self.read(request)
        if self.is_stale:
            raise StaleOrganization(request.org)
        assert self.step is not None  # given with the URL, on the instance: it gets no self
        return _written(request.org, self.step(request.org, by=request.actor, **given))


def _written(org: Organization, receipt: Receipt | None) -> Response:
    body = {"organization": organization_json(org), "changed": receipt is not None, "receipt": receipt_json(receipt)}
    return Response(body, headers={"ETag": organization_etag(org)})


# --- Members ----------------------------------------------------------------------------------------------------------


class MemberInput(StrictSerializer):
    username = TextField(max_length=150)
    role = serializers.ChoiceField(Role.choices)


class RoleInput(StrictSerializer):
    role = serializers.ChoiceField(Role.choices)


MEMBER = thing(
    "Member",
    {"id": described(TEXT, "Of the person."), "username": TEXT, "role": one_of(*Role.values), "created_at": TIME},
)


def member_json(member: Membership) -> dict[str, Any]:
    return {
        "id": str(member.user_id),
        "username": member.user.get_username(),
        "role": member.role,
        "created_at": rfc3339(member.created_at),
    }


class MemberList(ListView):
    """People with an account, and their roles."""

    required_role = {"GET": "viewer", "POST": "admin"}
    takes = {"POST": MemberInput}
    gives = {"GET": MEMBER, "POST": (201, written("MemberAdded", {"member": MEMBER}))}
    examples = {"POST": {"username": "ada", "role": "editor"}}
    orderings = {
        "": ("user__username",),
        "created_at": ("created_at", "user_id"),
        "-created_at": ("-created_at", "-user_id"),
    }
    filterset_class = MemberFilters
    search_fields = ("user__username",)

    def get(self, request: Request, **_: Any) -> Response:
        """Who belongs to the organisation, and in which role."""
        rows = Membership.objects.filter(org=request.org).select_related("user")
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response([member_json(member) for member in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        """Gives somebody who has an account a role. Few names may be asked for in an hour, by a dry run too."""
        given = MemberInput(data=request.data)
        given.is_valid(raise_exception=True)
        person = members.find_person(given.validated_data["username"], asked_by=request.user)
        member = members.add_member(request.org, person, role=given.validated_data["role"], by=request.actor)
        headers = {"Location": f"{request.path}{member.user_id}/", "ETag": member_etag(member)}
        return Response({"member": member_json(member)}, status=201, headers=headers)


def member_etag(member: Membership) -> str:
    return _etag("m", member_json(member))


class MemberDetail(View):
    """A membership, by the id of the person."""

    required_role = {"GET": "viewer", "PATCH": "admin", "DELETE": "admin"}
    takes = {"PATCH": RoleInput}
    gives = {
        "GET": MEMBER,
        "PATCH": written("MemberWritten", {"member": MEMBER, "changed": FLAG}),
        "DELETE": written("MemberRemoved", {"changed": FLAG}),
    }
    examples = {"PATCH": {"role": "approver"}}

    def find(self, request: Request) -> None:
        self.member = members.get_member(request.org, self.kwargs["id"])

    def etag(self) -> str:
        return member_etag(self.member)

    def get(self, request: Request, **_: Any) -> Response:
        """One member, by the id of the person."""
        return Response(member_json(self.member), headers={"ETag": self.etag()})

    def patch(self, request: Request, **_: Any) -> Response:
        """Changes the role."""
        given = RoleInput(data=request.data)
        given.is_valid(raise_exception=True)
        self._refuse_stale()
        changed = members.change_role(self.member, role=given.validated_data["role"], by=request.actor)
        return Response({"member": member_json(self.member), "changed": changed}, headers={"ETag": self.etag()})

    def delete(self, request: Request, **_: Any) -> Response:
        """Takes the membership away, and with it what the person's keys may do here."""
        self._refuse_stale()
        members.remove_member(self.member, by=request.actor)
        return Response({"changed": True})

    def _refuse_stale(self) -> None:
        if self.is_stale:
            raise members.StaleMember(self.member)


# --- Keys -------------------------------------------------------------------------------------------------------------


class KeyInput(StrictSerializer):
    name = TextField(max_length=100)
    kind = serializers.ChoiceField(ApiKey.Kind.choices, default=ApiKey.Kind.MANAGEMENT)
    role = serializers.ChoiceField(Role.choices, default="", allow_blank=True)
    expires_at = TimeField(default=None, allow_null=True)
    metadata = TextsField(default=dict, help_text="Of a traffic key: fixed in the metadata of its requests.")
    allows_force = serializers.BooleanField(
        default=False, help_text="Of a traffic key: its requests may name their route."
    )


KEY = thing(
    "ApiKey",
    {
        "id": TEXT,
        "prefix": described(TEXT, "How the key begins; the rest was shown once."),
        "kind": one_of(*ApiKey.Kind.values),
        "name": TEXT,
        "role": or_null(one_of(*Role.values)),
        "made_by": TEXT,
        "created_at": TIME,
        "expires_at": or_null(TIME),
        "revoked_at": or_null(TIME),
        "last_used_at": described(or_null(TIME), "To the minute."),
        "is_valid": FLAG,
        "metadata": described(by_name(TEXT), "Of a traffic key: fixed in the metadata of its requests."),
        "allows_force": described(FLAG, "Of a traffic key: its requests may name the route that is to take them."),
    },
)


def key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.pk,
        "prefix": f"rk_{key.kind}_{key.pk}_",
        "kind": key.kind,
        "name": key.name,
        "role": key.role or None,
        "made_by": key.made_by.get_username(),
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "revoked_at": rfc3339(key.revoked_at),
        "last_used_at": rfc3339(key.last_used_at),
        "is_valid": key.is_valid,
        "metadata": key.metadata,
        "allows_force": key.allows_force,
    }


class KeyList(ListView):
    """The organisation's keys."""

    required_role: dict[str, str | tuple[str, ...]] = {"GET": "viewer", "POST": "admin"}
    takes = {"POST": KeyInput}
    gives = {
        "GET": KEY,
        "POST": (201, written("ApiKeyMade", {"api_key": KEY, "key": described(or_null(TEXT), "Shown this once.")})),
    }
    examples = {"POST": {"name": "gateways in Frankfurt", "kind": "gateway"}}
    orderings = {"": ("-created_at", "-id"), "created_at": ("created_at", "id"), "name": ("name", "id")}
    filterset_class = KeyFilters
    search_fields = ("name", "id")
    answers_secret = True

    def get(self, request: Request, **_: Any) -> Response:
        """Keys, newest first, revoked ones too."""
        rows = ApiKey.objects.filter(org=request.org).select_related("made_by")
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response([key_json(key) for key in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        """Makes a key: `key` in the answer is the whole of it, shown this once. A key cannot be changed.

        Only a person, signed in, makes a management key."""
        given = KeyInput(data=request.data)
        given.is_valid(raise_exception=True)
        made = keys.create_key(request.org, by=request.actor, **given.validated_data)
        body = {"api_key": key_json(made.key), "key": made.text}
        headers = {"Location": f"{request.path}{made.key.pk}/", "Cache-Control": "no-store"}
        return Response(body, status=201, headers=headers)


class KeyDetail(View):
    """A key, by the part of it that is no secret."""

    required_role: dict[str, str | tuple[str, ...]] = {"GET": "viewer", "DELETE": "admin"}
    gives = {"GET": KEY, "DELETE": written("ApiKeyRevoked", {"api_key": KEY, "changed": FLAG})}

    def find(self, request: Request) -> None:
        self.key = keys.get_key(request.org, self.kwargs["id"])

    def get(self, request: Request, **_: Any) -> Response:
        """One key."""
        return Response(key_json(self.key))

    def delete(self, request: Request, **_: Any) -> Response:
        """Revokes the key, at once; it stays in the list. Nothing can be lost by it, so it needs no If-Match."""
        changed = keys.revoke_key(self.key, by=request.actor)
        return Response({"api_key": key_json(self.key), "changed": changed})


class InstallationKeyList(KeyList):
    """Keys of gateways that serve all organisations, made by installation staff."""

    required_role = {"GET": "installation", "POST": "installation"}


class InstallationKeyDetail(KeyDetail):
    required_role = {"GET": "installation", "DELETE": "installation"}


#: URL, name, service, what it takes and an example of that, and what it does.
_STEPS: tuple[tuple[str, str, Callable[..., Receipt | None], Any, Any, str], ...] = (
    (
        "freeze/",
        "freeze",
        policy.freeze,
        FreezeInput,
        {"reason": "The supplier's prices are being checked."},
        "Refuses every change of the organisation from now on, with a reason that is told to who is refused. What is live"
        " is served on; keys and members can be taken away.",
    ),
    ("unfreeze/", "unfreeze", policy.unfreeze, None, None, "Allows changes again."),
    (
        "approval/confirm/",
        "approval_confirm",
        policy.confirm_approval,
        ApprovalInput,
        {"approval": "none"},
        "Lets a looser approval policy hold that another admin proposed.",
    ),
    (
        "approval/withdraw/",
        "approval_withdraw",
        policy.withdraw_approval,
        ApprovalInput,
        {"approval": "none"},
        "Takes the proposal of a looser approval policy back.",
    ),
)
#: Under `orgs/<org>/`.
urlpatterns = [
    path("", OrganizationDetail.as_view(), name="org"),
    *(
        path(
            url,
            OrganizationStep.as_view(
                step=step,
                about=about,
                takes={"POST": takes} if takes else {},
                examples={"POST": example} if example else {},
            ),
            name=name,
        )
        for url, name, step, takes, example, about in _STEPS
    ),
    path("members/", MemberList.as_view(), name="members"),
    path("members/<int:id>/", MemberDetail.as_view(), name="member"),
    path("api-keys/", KeyList.as_view(), name="keys"),
    path("api-keys/<str:id>/", KeyDetail.as_view(), name="key"),
]
#: Under the root of the API.
outside = [
    path("orgs/", OrganizationList.as_view(), name="orgs"),
    path("api-keys/", InstallationKeyList.as_view(), name="installation_keys"),
    path("api-keys/<str:id>/", InstallationKeyDetail.as_view(), name="installation_key"),
]
