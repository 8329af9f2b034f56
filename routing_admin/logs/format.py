"""How a line of the log is written: as JSON, or readable on a terminal. For every logger of the process.

Rooms log by the standard library; what they add as `extra` is written where `FIELDS` names it, and nothing else is.
"""

import json
import logging
import re
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict

from routing_admin.logs.redaction import redact

#: What a line may say beside its message, in this order.
FIELDS: Final = (
    "request_id", "org", "actor", "method", "route", "status", "duration_ms", "plan", "address", "target"
)  # fmt: skip
_ORDER: Final = ("timestamp", "level", "logger", "event", *FIELDS, "exception")
#: Controls, line separators, changes of direction, lone surrogates: what moves a cursor or looks like another line.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_Formatter = structlog.stdlib.ProcessorFormatter


class Formatter(_Formatter):
    """Writes one line; what cannot be written is named by its place in the source."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:
            # Else Python would print message, arguments and traceback as they are, past the redaction.
            where = f"{record.module}:{record.lineno}"
            said = f"A message of {where} could not be written: {type(error).__name__}"
            return super().format(logging.LogRecord(record.name, record.levelno, "", 0, said, None, None))


def json_lines() -> logging.Formatter:
    """An object in a line: `timestamp` (RFC 3339, UTC), `level`, `logger`, `event`, and of `FIELDS` what is known;
    `exception` is a traceback without locals."""
    return _formatter(structlog.processors.JSONRenderer(serializer=json.dumps))


def console() -> logging.Formatter:
    """The same for people; a traceback follows its line, with `|` before each of its own."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )
    return _formatter(_printable, renderer)


def _formatter(*render: Any) -> logging.Formatter:
    return Formatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True),
            _of_request,
            structlog.stdlib.ExtraAdder(allow=FIELDS),
            structlog.processors.format_exc_info,
        ],
        # Last of all: the whole line, so that nothing in it is missed.
        processors=[_in_order, *render, _redacted],
    )


def _of_request(_logger: Any, _name: str, event: EventDict) -> EventDict:
    # Imported here, because settings name this module, and that one asks them.
    from routing_admin.served import facts

    return {**event, **facts()}


def _in_order(_logger: Any, _name: str, event: EventDict) -> EventDict:
    return {key: event[key] for key in _ORDER if key in event}


def _printable(_logger: Any, _name: str, event: EventDict) -> EventDict:
    said = {key: _escaped(value) if isinstance(value, str) else value for key, value in event.items()}
    if "exception" in event:
        said["exception"] = "\n".join(f"  | {_escaped(line)}" for line in event["exception"].split("\n"))
    return said


def _escaped(text: str) -> str:
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _redacted(_logger: Any, _name: str, line: Any) -> Any:
    return redact(line)
