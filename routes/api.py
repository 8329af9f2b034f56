"""What the API of this application and of `plans` share."""

import re
from typing import Any

from rest_framework import exceptions, serializers

from audit.services import Receipt
from routes.publish import Change


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses keys that it does not know, instead of ignoring a misspelt one."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [key for key in data if key not in self.fields]
            if unknown:
                known = ", ".join(self.fields)
                raise serializers.ValidationError(
                    {key: exceptions.ErrorDetail(f"Unknown. Known: {known}.", "unknown_key") for key in unknown}
                )
        return super().to_internal_value(data)


class TimeField(serializers.DateTimeField):
    """RFC 3339 with its zone: a time without one would mean something else to every reader."""

    def to_internal_value(self, value: Any) -> Any:
        if isinstance(value, str) and not re.search(r"[Tt ].*([Zz]|[+-]\d\d:\d\d)$", value):
            raise serializers.ValidationError(
                exceptions.ErrorDetail("Write a time with its zone, like 2026-05-01T12:00:00Z.", "bad_time")
            )
        return super().to_internal_value(value)


def receipt_json(receipt: Receipt | None) -> dict[str, Any] | None:
    if receipt is None:
        return None
    return {"log": receipt.log, "seq": receipt.seq, "leaf_hash": receipt.leaf_hash}


def change_json(change: Change) -> dict[str, Any]:
    """What a write answers beside its object."""
    return {
        "changed": change.changed,
        "version": change.version,
        "digest": change.digest,
        "receipt": receipt_json(change.receipt),
    }
