"""Query parameters: of every URL of the API the known ones are taken, each once."""

from collections.abc import Collection

from django.http import QueryDict
from rest_framework.exceptions import ErrorDetail, ValidationError


def check_parameters(given: QueryDict, known: Collection[str], lists: Collection[str] = ()) -> None:
    """Raises `ValidationError` for parameters that are not `known`, and for those that are given more than once and are no
    `lists`: of two values one would be taken, and nobody knows which."""
    unknown = f"Unknown parameter. Known: {', '.join(known) or 'none'}."
    wrong = {name: ErrorDetail(unknown, "unknown_key") for name in given if name not in known}
    for name, values in given.lists():
        if len(values) > 1 and name in known and name not in lists:
            message = f"{name} is given {len(values)} times. Give it once."
            wrong[name] = ErrorDetail(message, "repeated_parameter")
    if wrong:
        raise ValidationError(wrong)
