"""What the log refuses; `code` is stable, the text says what to do."""


class AuditError(Exception):
    """The log refused."""

    code = "audit_refused"


class NoTransaction(AuditError):
    """An entry stands in the same transaction as what it describes."""

    code = "no_transaction"


class EntryRefused(AuditError):
    """The entry or its payload holds what cannot be recorded."""

    code = "entry_refused"


class EntryTooLarge(EntryRefused):
    """A text of the entry is longer than an entry may hold."""

    code = "entry_too_large"


class LogDamaged(AuditError):
    """What is stored of the log does not fit together, so that nothing can be added to it, or shown by it."""

    code = "log_damaged"

    def __init__(self, log: str) -> None:
        super().__init__(
            f"The log {log} is damaged: manage.py verify_audit says where. Bring the database back from a backup, or open a"
            " new log with manage.py audit_epoch."
        )


class NoSuchEntry(AuditError):
    """The log has no entry, or was never so large."""

    code = "not_found"


class LogsChanged(AuditError):
    """Another log was opened while these were exported."""

    code = "logs_changed"

    def __init__(self) -> None:
        super().__init__("Another log was opened meanwhile, and what was written is not whole. Export again.")


class NotSigned(AuditError):
    """No checkpoint covers it yet."""

    code = "not_signed"


class AlreadyBlanked(AuditError):
    """There is nothing left to blank."""

    code = "already_blanked"


class NeverBlanked(AuditError):
    """What the log says of itself is never blanked."""

    code = "never_blanked"
