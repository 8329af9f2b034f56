"""What `postgresql_grants` gives is enough for the application and for the signer, and lets neither change the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from psycopg.errors import InsufficientPrivilege

from audit.models import AuditEntry, AuditHead
from plans.runs.worker import run_next
from routes.database import VIEWS
from routes.redaction.services import redact_entry
from tests.audit.build import TABLE, sql
from tests.audit.signing.build import cut, signed
from tests.build import BY, a_person, a_plan, a_route, an_org, traffic
from tests.databases import ON_POSTGRES
from tests.torn.acts import ACTS, a_world

pytestmark = pytest.mark.django_db
APPLICATION, SIGNER, GATEWAY = "routing application", "routing_signer", "routing_gateway"


def test_sqlite_has_no_roles() -> None:
    if ON_POSTGRES:
        pytest.skip("PostgreSQL has")
    with pytest.raises(CommandError, match="no roles"):
        call_command("postgresql_grants", application="a", signer="b")


@pytest.fixture
def roles(settings: Any, tmp_path: Path) -> None:
    if not ON_POSTGRES:
        pytest.skip("SQLite has no roles")
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")
    for name in (APPLICATION, SIGNER, GATEWAY):
        sql(f'CREATE ROLE "{name}"')
        sql(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{name}"')  # what somebody gave it before
    granted()


def granted(signer: str = SIGNER) -> None:
    printed = StringIO()
    call_command("postgresql_grants", application=APPLICATION, signer=signer, gateway=GATEWAY, stdout=printed)
    lines = printed.getvalue().splitlines()
    assert (lines[0], lines[-1]) == ("BEGIN;", "COMMIT;")
    sql("\n".join(lines[1:-1]))


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    sql(f'SET LOCAL ROLE "{role}"')
    try:
        yield
    finally:
        sql("RESET ROLE")


def is_denied(statement: str, *parameters: Any) -> bool:
    try:
        with transaction.atomic():
            sql(statement, *parameters)
            transaction.set_rollback(True)
    except ProgrammingError as error:
        if isinstance(error.__cause__, InsufficientPrivilege):
            return True
        raise
    return False


@pytest.mark.usefixtures("roles")
def test_the_application_does_all_that_it_does() -> None:
    with acting_as(APPLICATION):
        world = a_world()
        for act in ACTS.values():
            with transaction.atomic():
                act(world)
                transaction.set_rollback(True)
        org = an_org("other")
        traffic(org)
        a_person("ada", org, "admin")
        a_route(org, "r")
        a_plan(org)
        while run_next():
            pass
        redact_entry(org, 0, reason="A name.", by=BY)
        call_command("verify_audit", verbosity=0, stdout=StringIO())
        call_command("clearsessions")


CHANGES = [
    f"UPDATE {TABLE} SET action = 'forged'",
    f"UPDATE {TABLE} SET payload = NULL, salt = NULL, seq = 7",
    f"DELETE FROM {TABLE}",
    f"TRUNCATE {TABLE}",
    f"INSERT INTO {TABLE} SELECT * FROM {TABLE} ON CONFLICT (id) DO UPDATE SET action = 'forged'",
    f"ALTER TABLE {TABLE} DISABLE TRIGGER audit_append_only",
    f"DROP TRIGGER audit_append_only ON {TABLE}",
    f"ALTER TABLE {TABLE} RENAME TO gone",
    f"DROP TABLE {TABLE}",
    "CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
    "TRUNCATE audit_audithead",
    "SET session_replication_role = replica",
]
OF_THE_SIGNER = [
    "DELETE FROM audit_audithead",
    "INSERT INTO audit_checkpoint (log, size, note, signed_at, checked_at) VALUES ('x', 1, 'x', now(), now())",
    "UPDATE audit_checkpoint SET note = 'x'",
    "DELETE FROM audit_checkpoint",
    "UPDATE audit_refusal SET rule = 'x'",
    "DELETE FROM audit_refusal",
    "INSERT INTO django_migrations (app, name, applied) VALUES ('audit', 'x', now())",
]


@pytest.mark.usefixtures("roles")
@pytest.mark.every_case
@pytest.mark.parametrize("statement", [*CHANGES, *OF_THE_SIGNER])
def test_the_application_does_not_change_the_log(statement: str) -> None:
    a_route(an_org())
    with acting_as(APPLICATION):
        assert is_denied(statement)


@pytest.mark.usefixtures("roles")
@pytest.mark.every_case
@pytest.mark.parametrize(
    "statement",
    [
        *CHANGES,
        f"UPDATE {TABLE} SET payload = NULL, salt = NULL",
        "DELETE FROM audit_checkpoint",
        "SELECT * FROM auth_user",
        "SELECT * FROM routes_apikey",
        "UPDATE routes_route SET name = 'x'",
        "SELECT * FROM django_session",
    ],
)
def test_the_signer_changes_nothing_but_what_it_signs(statement: str) -> None:
    a_route(an_org())
    with acting_as(SIGNER):
        assert is_denied(statement)


@pytest.mark.usefixtures("roles")
def test_the_signer_signs_and_opens_a_log_anew() -> None:
    org = an_org()
    a_route(org, "kept")
    a_route(org, "lost")
    with acting_as(SIGNER):
        assert signed().refused == {}
    cut(org.pk, 2)
    with acting_as(SIGNER):
        assert len(signed().refused) == 1
        call_command("audit_epoch", org=org.slug, reason="A backup.", stdout=StringIO())
        assert signed().refused == {}
    AuditHead.objects.create(org_id=org.pk, log="added", epoch=9, is_current=False)
    with acting_as(SIGNER):
        assert len(signed().refused) == 1
        call_command("audit_epoch", org=org.slug, reason="Somebody added one.", stdout=StringIO())
        assert signed().refused == {}
        call_command("verify_audit", org=org.slug, stdout=StringIO())
        call_command("verify_audit", stdout=StringIO())
    assert AuditEntry.objects.filter(action="audit.epoch_opened").exists()


@pytest.mark.usefixtures("roles")
def test_one_role_may_be_both() -> None:
    granted(signer=APPLICATION)
    with acting_as(APPLICATION):
        a_route(an_org())
        assert signed().refused == {}
        assert all(is_denied(statement) for statement in CHANGES)


@pytest.mark.usefixtures("roles")
def test_every_table_is_given_to_somebody() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT has_table_privilege(%s, oid, 'SELECT')",
            [APPLICATION],
        )
        assert cursor.fetchall() == []


@pytest.mark.usefixtures("roles")
def test_a_gateway_reads_what_is_published_and_no_more() -> None:
    a_route(an_org())
    with acting_as(GATEWAY):
        for view in VIEWS:
            sql(f"SELECT * FROM {view}")
        for table in (TABLE, "routes_organization", "routes_routesetversion", "auth_user"):
            assert is_denied(f"SELECT * FROM {table}")
        assert is_denied("DELETE FROM gateway_versions")
