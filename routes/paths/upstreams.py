"""Where the targets of a service lead: addresses that no gateway would ask are refused, names are looked up to warn."""

from collections.abc import Iterable
from typing import Any

from routes.engine.egress import PrivateUpstream
from routes.engine.errors import Issue
from routes.engine.path_patterns import parse_pattern
from routes.engine.placed import is_placed, partition_key
from routes.orgs.lookup import Lookup, names_of, refused


def targets_refused(
    service: dict[str, Any], private_upstreams: Iterable[PrivateUpstream], *, before: dict[str, Any] | None = None
) -> list[Issue]:
    """What is wrong with the targets of a service, in the document's keys: addresses that no gateway asks; what leads to
    placements without saying where the partition stands. Those that it had before do not count: whoever changes something
    else need not mend what another list allowed."""
    known = [(path.get("pattern"), path.get("target_url")) for path in (before or {}).get("paths", ())]
    allowed = tuple(private_upstreams)
    issues: list[Issue] = []
    for index, path in enumerate(service["paths"]):
        pattern, target = path["pattern"], path["target_url"]
        where = f"paths[{index}].target_url"
        if (pattern, target) in known:
            continue
        if (problem := _placed_problem(pattern, target)) is not None:
            issues.append({"path": where, "code": "invalid", "message": problem})
        elif target not in (each for _, each in known) and (reason := refused(target, allowed)) is not None:
            issues.append({"path": where, "code": "egress_denied", "message": f"No gateway asks this. {reason}"})
    return issues


def _placed_problem(pattern: str, target: str) -> str | None:
    """What is wrong with a target that leads to placements; None for any other."""
    try:
        key = partition_key(target)
    except ValueError as error:
        return str(error)
    if key is None or key.kind != "path" or key.name in {name.lower() for name, _ in parse_pattern(pattern).parameters}:
        return None
    return f"The pattern has no parameter :{key.name}, which is to name the partition."


def names_in(paths: Any) -> list[str]:
    """The names, not addresses, to which these paths lead, as far as they are paths: each once, in their order."""
    targets = [path.get("target_url") for path in paths if isinstance(path, dict)] if isinstance(paths, list) else []
    return names_of(target for target in targets if isinstance(target, str) and not is_placed(target))


def findings(
    lookup: Lookup, service: dict[str, Any], private_upstreams: Iterable[PrivateUpstream]
) -> list[dict[str, Any]]:
    """What is odd about the names to which a service leads: `[{"code", "severity", "path", "message"}]`."""
    allowed = tuple(private_upstreams)
    found = []
    for index, path in enumerate(service["paths"]):
        if told := lookup.told(path["target_url"], allowed):
            where = f"paths[{index}].target_url"
            found.append({"code": told[0], "severity": "warning", "path": where, "message": told[1]})
    return found
