"""The refusals of this application that belong to no single subject."""


class RoutesError(Exception):
    """A change that was refused; `code` is stable, the text says what to do."""

    code = "refused"


class NotFound(RoutesError):
    """There is no such thing in this organisation."""

    code = "not_found"


class StaleVersion(RoutesError):
    """The organisation changed since the caller looked; `expected` is None where nobody knows what that was."""

    code = "stale_version"

    def __init__(self, expected: int | None, current: int) -> None:
        since = "what you saw" if expected is None else f"version {expected}"
        super().__init__(f"The routes changed since {since}: they are at version {current} now. Look again.")
        self.expected = expected
        self.current = current


class OrganizationFrozen(RoutesError):
    """Nothing of a frozen organisation is changed."""

    code = "organization_frozen"


class ApprovalRequired(RoutesError):
    """This organisation wants a second person to approve this first."""

    code = "approval_required"


class NameTaken(RoutesError):
    """Another route, or another example, of the organisation has this name."""

    code = "name_taken"


class TooManyRoutes(RoutesError):
    """An organisation may have 1,000 routes."""

    code = "too_many_routes"


class TooManyServices(RoutesError):
    """An organisation may have 500 services."""

    code = "too_many_services"


class DocumentTooLarge(RoutesError):
    """The document of an organisation may have 4 MiB of canonical bytes."""

    code = "document_too_large"


def issue(path: str, code: str, message: str) -> dict[str, str]:
    """One thing that is wrong with what was sent, as `issues` of a refusal have it."""
    return {"path": path, "code": code, "message": message}
