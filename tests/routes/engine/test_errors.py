"""The tree of refusals, as the contract has it: a gateway written by somebody else maps these codes and statuses."""

import copy
import pickle
from typing import Any

import pytest

from routes.engine import errors
from routes.engine.errors import Issue, RoutingError

#: class, code, status, retryable
TABLE: list[tuple[str, str, int, bool]] = [
    ("RoutingError", "routing_error", 500, False),
    ("PartitionUnresolved", "partition_unresolved", 400, False),
    ("UnsupportedEndpoint", "unsupported_endpoint", 400, False),
    ("UnsafePath", "unsafe_path", 400, False),
    ("MalformedRequest", "malformed_request", 400, False),
    ("AuthFailed", "auth_failed", 401, False),
    ("BudgetExceeded", "budget_exceeded", 402, False),
    ("Forbidden", "forbidden", 403, False),
    ("PlacementMissing", "placement_missing", 404, False),
    ("NoRoute", "no_route", 404, False),
    ("MethodNotAllowed", "method_not_allowed", 405, False),
    ("StaleEpoch", "stale_epoch", 409, True),
    ("PayloadTooLarge", "payload_too_large", 413, False),
    ("InvalidRoute", "invalid_route", 422, False),
    ("DocumentRejected", "document_rejected", 422, False),
    ("Overloaded", "overloaded", 429, True),
    ("Internal", "internal", 500, False),
    ("ManagementUnsupported", "management_unsupported", 501, False),
    ("UpstreamFailed", "upstream_failed", 502, False),
    ("EgressDenied", "egress_denied", 502, False),
    ("ProviderUnresolved", "provider_unresolved", 502, False),
    ("UpstreamUnavailable", "upstream_unavailable", 503, True),
    ("StoreUnavailable", "store_unavailable", 503, True),
    ("PlacementUnavailable", "placement_backend_unavailable", 503, True),
    ("UpstreamTimeout", "upstream_timeout", 504, False),
]
NAMES = [name for name, *_ in TABLE]
ISSUES: list[Issue] = [
    {"path": "when.model_in[1]", "code": "blank_value", "message": "This text is blank."},
    {"path": "", "code": "missing", "message": "then is missing."},
]


def an_error(name: str) -> RoutingError:
    cls: Any = getattr(errors, name)
    if name == "InvalidRoute":
        return cls(ISSUES)  # type: ignore[no-any-return]
    if name == "MethodNotAllowed":
        return cls("The path takes no PATCH.", ["PUT", "GET"])  # type: ignore[no-any-return]
    return cls("What is wrong.")  # type: ignore[no-any-return]


@pytest.mark.parametrize(("name", "code", "status", "retryable"), TABLE, ids=NAMES)
def test_a_class_has_its_code_its_status_and_whether_to_ask_again(
    name: str, code: str, status: int, retryable: bool
) -> None:
    error = an_error(name)
    assert (error.code, error.http_status, error.retryable) == (code, status, retryable)
    assert isinstance(error, RoutingError)
    # As on the class, so on its members: nothing is decided by how one is made.
    assert (type(error).code, type(error).http_status, type(error).retryable) == (code, status, retryable)


def test_the_tree_holds_these_classes_and_no_other() -> None:
    own = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__ and issubclass(value, BaseException)
    }
    assert own == set(NAMES)


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [code for _, code, _, _ in TABLE]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("name", NAMES)
def test_every_class_hangs_directly_under_the_base(name: str) -> None:
    # So that `except` for one refusal never takes another one along.
    cls = getattr(errors, name)
    assert cls.__base__ is (Exception if name == "RoutingError" else RoutingError)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling(name: str, protocol: int) -> None:
    before = an_error(name)
    after = pickle.loads(pickle.dumps(before, protocol))
    assert type(after) is type(before)
    assert str(after) == str(before) != ""
    assert after.args == before.args
    assert vars(after) == vars(before)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_survives_copying(name: str) -> None:
    before = an_error(name)
    for after in (copy.copy(before), copy.deepcopy(before)):
        assert type(after) is type(before)
        assert (str(after), vars(after)) == (str(before), vars(before))


def test_an_invalid_route_says_everything_that_is_wrong() -> None:
    error = errors.InvalidRoute(issue for issue in ISSUES)
    assert error.issues == ISSUES
    assert str(error) == "when.model_in[1]: This text is blank.; route: then is missing."
    assert pickle.loads(pickle.dumps(error)).issues == ISSUES


def test_a_refused_method_says_which_are_allowed_in_the_order_of_the_alphabet() -> None:
    error = errors.MethodNotAllowed("The path takes no PATCH.", (method for method in ("PUT", "GET")))
    assert error.allow == ("GET", "PUT")
    assert str(error) == "The path takes no PATCH."
    assert pickle.loads(pickle.dumps(error)).allow == ("GET", "PUT")
    assert errors.MethodNotAllowed("None at all.").allow == ()


def test_a_class_of_somebody_else_has_its_name_in_snake_case_as_its_code() -> None:
    class QuotaUsedUp(RoutingError):
        http_status = 429

    class SmallQuotaUsedUp(QuotaUsedUp):
        pass

    class Renamed(QuotaUsedUp):
        code = "quota"

    assert (QuotaUsedUp.code, QuotaUsedUp.http_status, QuotaUsedUp.retryable) == ("quota_used_up", 429, False)
    assert (SmallQuotaUsedUp.code, SmallQuotaUsedUp.http_status) == ("small_quota_used_up", 429)
    assert Renamed.code == "quota"


def test_a_class_below_one_whose_code_is_given_has_a_code_of_its_own() -> None:
    class PlacementTableLocked(errors.PlacementUnavailable):
        pass

    assert PlacementTableLocked.code == "placement_table_locked"
    assert errors.PlacementUnavailable.code == "placement_backend_unavailable"
