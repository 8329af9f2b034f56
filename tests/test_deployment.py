"""Settings: loud where something must be set, clean where all is."""

import pytest

from tests.deployment import PRODUCTION, manage


def test_the_deployment_check_is_clean() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


def test_every_change_of_a_model_has_its_migration() -> None:
    done = manage("makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [name for name in PRODUCTION if name != "STATIC_ROOT"])
def test_what_production_must_set_is_missed_by_name(name: str) -> None:
    done = manage("check", **{name: None})
    assert done.returncode != 0
    assert name in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL is one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'LOUD'"),
        ("METRICS_TOKEN", "short", "METRICS_TOKEN can be guessed: give it 32 characters or more"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str, said: str) -> None:
    done = manage("check", **{name: value})
    assert done.returncode != 0
    assert done.stderr.startswith(said)


def test_the_development_server_refuses_to_run_in_production() -> None:
    done = manage("serve")
    assert done.returncode != 0
    assert "DEBUG=true" in done.stderr
