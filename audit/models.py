"""The rows of the log: what is hashed stands as exact bytes, beside columns for searching."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn
from uuid import UUID

from django.db import DataError, InternalError, OperationalError, models
from django.db.models import Q
from django.db.models.functions import Cast

from audit.words import in_words


class AppendOnly(Exception):
    """Entries are added, never changed or removed."""

    code = "append_only"


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def of(self, org_id: UUID | str | None) -> "AuditEntryQuerySet":
        """An organisation's entries; the installation's for None."""
        return self.filter(org_id=org_id)

    def in_order(self) -> "AuditEntryQuerySet":
        return self.order_by("org_id", "epoch", "seq")

    def update(self, **_: Any) -> NoReturn:
        raise AppendOnly("Audit entries cannot be changed.")

    def delete(self) -> NoReturn:
        raise AppendOnly("Audit entries cannot be removed.")

    def bulk_update(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly("Audit entries cannot be changed.")

    def bulk_create(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly("Audit entries are written by audit.services.record alone.")


class AuditEntry(models.Model):
    """One act. Written by `audit.services.record` alone; the database refuses to change or remove it."""

    log = models.CharField(max_length=300)
    #: No foreign key: the log stands alone. Null for the installation's log.
    org_id = models.UUIDField(null=True)
    #: Which of the organisation's logs this is, from 1; another one begins where the last cannot go on.
    epoch = models.PositiveIntegerField(default=1, db_default=1)
    seq = models.PositiveBigIntegerField()
    ts = models.DateTimeField()
    actor_type = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=100)
    on_behalf_of = models.CharField(max_length=100, null=True)  # noqa: DJ001  null, as in the entry's bytes
    action = models.CharField(max_length=50)
    target_type = models.CharField(max_length=50)
    target_id = models.CharField(max_length=100)
    request_id = models.CharField(max_length=100, null=True)  # noqa: DJ001  null, as in the entry's bytes
    version_before = models.PositiveBigIntegerField(null=True)
    version_after = models.PositiveBigIntegerField(null=True)
    #: The exact bytes that are hashed.
    entry = models.BinaryField()
    leaf_hash = models.BinaryField(max_length=32)
    #: Canonical bytes; null once blanked, while the entry keeps their salted hash.
    payload = models.BinaryField(null=True)
    salt = models.BinaryField(max_length=16, null=True)

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        ordering = ["log", "seq"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["org_id", "-epoch", "-seq"], name="audit_newest_of_all"),
            models.Index(fields=["org_id", "action", "-epoch", "-seq"], name="audit_newest_by_action"),
            models.Index(
                fields=["org_id", "target_type", "target_id", "-epoch", "-seq"], name="audit_newest_by_target"
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["log", "seq"], name="audit_seq_once_per_log"),
            models.CheckConstraint(
                condition=Q(payload__isnull=True, salt__isnull=True) | Q(payload__isnull=False, salt__isnull=False),
                name="audit_payload_and_salt_together",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.log} {self.seq}: {self.action}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("Audit entries cannot be changed.")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise AppendOnly("Audit entries cannot be removed.")

    @property
    def words(self) -> str:
        """What was done, for people."""
        return in_words(self.action)


class AuditHead(models.Model):
    """Where a log ends. Every writer locks this row, and with it the order of the entries."""

    #: The log's origin, chosen at its first entry and never again.
    log = models.CharField(max_length=300, unique=True)
    org_id = models.UUIDField(null=True)
    epoch = models.PositiveIntegerField(default=1, db_default=1)
    #: Whether entries go here: an organisation's earlier logs are closed for ever.
    is_current = models.BooleanField(default=True, db_default=True)
    size = models.PositiveBigIntegerField(default=0)
    last_ts = models.CharField(max_length=27, blank=True)
    last_leaf_hash = models.BinaryField(max_length=32, null=True)
    #: The roots of the perfect subtrees, largest first, 32 bytes each.
    right_edge = models.BinaryField(default=bytes)

    class Meta:
        ordering = ["log"]
        constraints = [
            models.UniqueConstraint(fields=["org_id"], condition=Q(is_current=True), name="audit_one_current_log"),
            models.UniqueConstraint(
                fields=["is_current"],
                condition=Q(org_id=None, is_current=True),
                name="audit_one_current_log_of_the_installation",
            ),
        ]

    def __str__(self) -> str:
        return self.log


class Checkpoint(models.Model):
    """What a log was, signed (C2SP tlog-checkpoint). Written by the signer alone."""

    log = models.CharField(max_length=300)
    size = models.PositiveBigIntegerField()
    #: The signed note.
    note = models.TextField()
    #: When this was signed first, and when the signer last found the log to be so.
    signed_at = models.DateTimeField()
    checked_at = models.DateTimeField()

    class Meta:
        ordering = ["log", "-size"]
        constraints = [models.UniqueConstraint(fields=["log", "size"], name="audit_checkpoint_once_per_size")]
        indexes = [models.Index(fields=["checked_at"], name="audit_checkpoint_looked_at")]

    def __str__(self) -> str:
        return f"{self.log} {self.size}"


class Refusal(models.Model):
    """A log that the signer refuses to sign, since when, and why: the rule of verification that it breaks."""

    log = models.CharField(max_length=300, unique=True)
    since = models.DateTimeField()
    rule = models.CharField(max_length=50)
    message = models.TextField()

    class Meta:
        ordering = ["log"]

    def __str__(self) -> str:
        return f"{self.log}: {self.rule}"


#: What reading garbage raises: SQLite keeps any value in any column.
UNREADABLE: Final = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)


class Unreadable(Exception):
    """What is stored is nothing that was ever written here."""


@contextmanager
def reading() -> Iterator[None]:
    """Raises `Unreadable` for garbage, and for what the database itself cannot read."""
    try:
        yield
    except (*UNREADABLE, DataError, InternalError) as error:
        raise Unreadable(f"What is stored there cannot be read: {error}") from error
    except OperationalError as error:
        if "decode" not in str(error):  # SQLite's word for text that is none
            raise
        raise Unreadable(f"What is stored there cannot be read: {error}") from error


def raw(column: str) -> Cast:
    """What a column of bytes holds as bytes, whatever it is."""
    return Cast(column, models.BinaryField())


def as_bytes(value: Any) -> bytes:
    """What a column of bytes holds. Raises `TypeError` for anything else: of a number Python makes so many gigabytes."""
    if not isinstance(value, bytes | memoryview | bytearray):
        raise TypeError(f"{type(value).__name__} in place of bytes")
    return bytes(value)
