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
        ("SESSION_IDLE_SECONDS", "59", "SESSION_IDLE_SECONDS is 60 or more, and no more than SESSION_ABSOLUTE_SECONDS"),
        ("SESSION_ABSOLUTE_SECONDS", "3599", "SESSION_IDLE_SECONDS is 60 or more, and no more than SESSION_ABSOLUTE"),
        ("AUDIT_SIGNER", "nobody", "AUDIT_SIGNER is `worker` or `apart`, not 'nobody'"),
        ("AUDIT_SIGNER", "worker", "AUDIT_SIGNER=worker needs AUDIT_SIGNER_DIR"),
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


OIDC = {
    "OIDC_ISSUER": "https://id.example",
    "OIDC_CLIENT_ID": "routing",
    "OIDC_CLIENT_SECRET": "secret",
    "OIDC_NAME": "Example",
}


def test_a_provider_is_configured_whole_or_not_at_all() -> None:
    # `diffsettings` reads the settings and imports nothing else, which is quicker than a check.
    assert manage("diffsettings", **OIDC).returncode == 0
    for name in OIDC:
        done = manage("diffsettings", **{**OIDC, name: None})
        assert done.returncode != 0
        assert f"set {name} too" in done.stderr
    done = manage("diffsettings", OIDC_NAME="Example")
    assert "set OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET too" in done.stderr
    done = manage("diffsettings", **{**OIDC, "OIDC_ISSUER": "http://id.example"})
    assert "OIDC_ISSUER must begin with https://" in done.stderr


def test_the_deployment_check_is_clean_with_a_provider_and_a_required_factor() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", **OIDC, REQUIRE_SECOND_FACTOR="true")
    assert done.returncode == 0, done.stderr
