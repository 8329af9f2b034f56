"""API keys: made, shown once, used, revoked. Only writer of `ApiKey`."""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, transaction
from django.db.models import Model, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from audit.services import record
from routes.engine.reading import unsupported_in
from routes.errors import NotFound, RoutesError
from routes.orgs.access import role_of
from routes.orgs.locks import locked
from routes.orgs.models import ApiKey, Membership, Organization, Role
from routes.prepared import Prepared
from routes.transactions import repeated

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
#: How often the last use of a key is written down.
NOTED_EVERY: Final = timedelta(minutes=1)
#: What may be fixed on a traffic key: as many names, and as long, as OpenAI takes in a request's metadata.
MAX_METADATA: Final = 16
LONGEST_NAME: Final = 64
LONGEST_TEXT: Final = 512
log = logging.getLogger(__name__)


class RoleTooHigh(RoutesError):
    """Nobody hands out a role above one's own."""

    code = "role_too_high"


class InvalidKey(RoutesError):
    """The key that is asked for makes no sense; `field` says where."""

    code = "invalid_key"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class PersonRequired(RoutesError):
    """Only a person, signed in, makes a key that acts for a person."""

    code = "person_required"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `text` is the whole key; it is not kept and cannot be shown again."""

    key: ApiKey
    text: str


@repeated
def create_key(
    org: Organization | None,
    *,
    name: str,
    by: Any,
    kind: str = ApiKey.Kind.MANAGEMENT,
    role: str = "",
    expires_at: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
    allows_force: bool = False,
) -> NewKey:
    """Make a key. One for management acts for `by`, with a role; the others have none. Without `org` it is a gateway's key
    for all organisations. `metadata` and `allows_force` are for traffic: what requests that come with the key have in
    their metadata whatever they say, and whether they may name their route.

    `by` is a person or, for kinds other than management, a key, for whose person the new one is noted. Raises
    `RoleTooHigh`, `InvalidKey`, `PersonRequired` and `OrganizationFrozen`.
    """
    person = by.made_by if isinstance(by, ApiKey) else by
    _check(org, kind=kind, role=role, expires_at=expires_at)
    _check_traffic(kind, metadata or {}, allows_force)
    if kind == ApiKey.Kind.MANAGEMENT:
        if person is not by:
            raise PersonRequired(
                "A key makes no key that acts for a person. Sign in and make it on the page of access."
            )
        assert org is not None
        own = role_of(person, org)
        if own is None or not own.includes(role):
            raise RoleTooHigh(f"You are {own or 'no member'} here; a key of yours cannot be {role}.")
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    text = f"rk_{kind}_{key_id}_{secrets.token_hex(32)}"
    pepper = None if kind == ApiKey.Kind.TRAFFIC else max(settings.API_KEY_PEPPERS)
    with transaction.atomic():
        if org is not None:
            locked(org.pk)
        key = ApiKey.objects.create(
            id=key_id,
            kind=kind,
            org=org,
            role=role,
            name=name,
            made_by=person,
            # 256 random bits need no pepper, so that a gateway needs no secret to know a key for traffic.
            digest=_sha256(text) if pepper is None else _hmac(text, settings.API_KEY_PEPPERS[pepper]),
            pepper=pepper,
            expires_at=expires_at,
            metadata=dict(metadata or {}),
            allows_force=allows_force,
        )
        of_traffic = {"metadata": key.metadata, "allows_force": allows_force} if kind == ApiKey.Kind.TRAFFIC else {}
        record(
            None if org is None else org.pk,
            by=by,
            action="api_key.created",
            target=("api_key", key.id),
            payload={"name": name, "kind": kind, "role": role, "expires_at": expires_at, **of_traffic},
        )
    return NewKey(key, text)


def _check(org: Organization | None, *, kind: str, role: str, expires_at: datetime | None) -> None:
    if kind not in ApiKey.Kind.values:
        raise InvalidKey("kind", f"A key is one of {', '.join(ApiKey.Kind.values)}.")
    if kind == ApiKey.Kind.MANAGEMENT and role not in Role.values:
        raise InvalidKey("role", f"A key for management has a role: {', '.join(Role.values)}.")
    if kind != ApiKey.Kind.MANAGEMENT and role:
        raise InvalidKey("role", f"A {kind} key has no role. Leave it empty.")
    if org is None and kind != ApiKey.Kind.GATEWAY:
        raise InvalidKey("kind", f"A {kind} key belongs to one organisation.")
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidKey("expires_at", "This time has passed. Choose a later one, or none.")


def _check_traffic(kind: str, metadata: Mapping[str, str], allows_force: bool) -> None:
    if kind != ApiKey.Kind.TRAFFIC:
        if metadata:
            raise InvalidKey("metadata", f"Only a traffic key has fixed metadata, not a {kind} key. Leave it empty.")
        if allows_force:
            raise InvalidKey("allows_force", f"Only a traffic key may allow this, not a {kind} key.")
        return
    if len(metadata) > MAX_METADATA:
        raise InvalidKey("metadata", f"At most {MAX_METADATA} names; these are {len(metadata):,}.")
    for name, text in metadata.items():
        if not name.strip() or len(name) > LONGEST_NAME or unsupported_in(name):
            raise InvalidKey(
                "metadata", f"A name has 1 to {LONGEST_NAME} characters, none of them a control character."
            )
        if len(text) > LONGEST_TEXT or unsupported_in(text):
            said = f"The text of {name} has at most {LONGEST_TEXT} characters, none of them a control character."
            raise InvalidKey("metadata", said)


def get_key(org: Organization | None, key_id: str) -> ApiKey:
    """The organisation's key with this id; without `org`, one for all of them. Raises `NotFound`."""
    if key_id.isascii() and key_id.isalnum():  # else the database need not hear of it: PostgreSQL takes no U+0000
        key = ApiKey.objects.select_related("made_by").filter(org=org, pk=key_id).first()
        if key is not None:
            return key
    raise NotFound("There is no such key in this organisation.")


@repeated
def revoke_key(key: ApiKey, *, by: Any) -> bool:
    """The key stops working at once, also in a frozen organisation. Revoking it again changes nothing; answers whether this
    did."""
    with transaction.atomic():
        now = timezone.now()
        if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now):
            return False
        key.revoked_at = now
        record(key.org_id, by=by, action="api_key.revoked", target=("api_key", key.id), payload={"name": key.name})
    return True


# --- Using ------------------------------------------------------------------------------------------------------------


def authenticate(text: str) -> ApiKey | None:
    """The key with this text, with its organisation and the role that its person has there (`persons_role`); None where it
    is malformed, unknown, wrong, revoked, expired, or for traffic, which this application does not serve.

    One query, one HMAC and one comparison whatever comes in, so that the time taken tells nothing about which part was
    wrong.
    """
    parts = text.split("_")
    key_id = parts[2] if len(parts) == 4 and parts[2].isascii() and parts[2].isalnum() else ""
    key = _with_all_that_it_takes(key_id)
    peppers = settings.API_KEY_PEPPERS
    number = key.pepper if key and key.pepper is not None else max(peppers)
    digest = _hmac(text, peppers.get(number, b""))
    right = hmac.compare_digest(digest, bytes(key.digest) if key else bytes(32))
    if key is None or not right or number not in peppers or key.kind == ApiKey.Kind.TRAFFIC or not key.is_valid:
        return None
    if key.kind == ApiKey.Kind.MANAGEMENT and not key.made_by.is_active:
        return None
    return key


def _named_columns(model: type[Model], before: str = "") -> list[str]:
    return [before + field.attname for field in model._meta.concrete_fields]


def _by_id() -> QuerySet[Any, Any]:
    theirs = Membership.objects.filter(org=OuterRef("org"), user=OuterRef("made_by")).values("role")
    columns = [
        *_named_columns(ApiKey),
        *_named_columns(get_user_model(), "made_by__"),
        *_named_columns(Organization, "org__"),
    ]
    return ApiKey.objects.filter(pk="").order_by().values_list(*columns, Subquery(theirs))


_keys: Final = Prepared(_by_id)


def _with_all_that_it_takes(key_id: str) -> ApiKey | None:
    """The key of this id with its person, its organisation and `persons_role`. Every call of the API asks this."""
    for row in _keys.converted(_keys.read(key_id)):
        columns = iter(row)
        key, person, org = (_instance(model, columns) for model in (ApiKey, get_user_model(), Organization))
        key.made_by, key.org = person, org if org.pk is not None else None
        key.persons_role = next(columns)
        return key
    return None


def _instance(model: type[Model], columns: Iterator[Any]) -> Any:
    names = [field.attname for field in model._meta.concrete_fields]
    return model.from_db(connection.alias, names, list(islice(columns, len(names))))


def note_use(key: ApiKey) -> None:
    """Write down that the key was used now, at most once a minute, in a statement of its own: what the caller goes on to
    do may be undone, that it called may not. A busy database is not waited for: there will be another call."""
    now = timezone.now()
    if key.last_used_at is not None and now - key.last_used_at < NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - NOTED_EVERY)
    try:
        with _without_waiting():
            ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    except OperationalError as error:
        log.info("the use of key %s was not noted: %s", key.pk, error)


@contextmanager
def _without_waiting() -> Iterator[None]:
    """On SQLite, statements inside fail at once where another holds the one write lock. (On PostgreSQL only a writer of
    this very row would be waited for, and that is another note.)"""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        (waits,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(waits)}")


def _hmac(text: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, text.encode("utf-8", "replace"), hashlib.sha256)


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
