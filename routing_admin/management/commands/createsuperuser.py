"""Django's command to make installation staff, with an audit entry."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.db import transaction

from audit.actors import system
from routing_admin.signin.people import record_person

BY = system("createsuperuser")


class _Manager:
    """Of people: whom it makes has an entry, in the same transaction."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def db_manager(self, using: str) -> "_Manager":
        return _Manager(self._manager.db_manager(using))

    def create_superuser(self, **fields: Any) -> Any:
        with transaction.atomic():
            person = self._manager.create_superuser(**fields)
            record_person(person, "person.created", by=BY)
        return person


class _People:
    """The model, as the stock command uses it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._default_manager = _Manager(model._default_manager)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **fields: Any) -> Any:
        return self._model(**fields)


class Command(createsuperuser.Command):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.UserModel = _People(self.UserModel)
