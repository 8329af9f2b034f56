"""`RoutingSpi`: the narrow protocol behind which routers are exchanged, and `SpiDecision`, what one answers.

A router decides where a request goes; a sink sends it there. The sink compares the decision's epoch with that of the
placement and refuses what was decided before a step of a migration (`StaleEpoch`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Protocol, get_args

from routes.engine.canonical import canonical_bytes
from routes.engine.errors import Internal, RoutingError
from routes.engine.frozen import frozen
from routes.engine.reading import shown, unsupported_in

UpstreamProtocol = Literal["http1", "http2", "grpc"]
HeaderOpKind = Literal["set", "append", "remove"]

#: The epoch of what was never placed. The first placement has 1.
NEVER_PLACED: Final = 0
MAX_EPOCH: Final = 2**64 - 1

_PROTOCOLS = frozenset(get_args(UpstreamProtocol))
_KINDS = frozenset(get_args(HeaderOpKind))
#: RFC 9110's token, in lower case: no space, no colon, no line break, no pseudo-header.
_is_header_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
#: Visible ASCII, spaces and tabs inside. What lies beyond ASCII is read differently from server to server.
_is_header_value = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?").fullmatch
#: Of the connection, not of the request. Whoever sends the body writes them; a wrong one lets one request end inside
#: another.
_FRAMING = frozenset({
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
#: An absolute URL with a host, without credentials and fragment; of ASCII, which is asked apart.
_is_endpoint = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@\\]+(?:[/?][^\s#\\]*)?").fullmatch


# --- Epochs ---------------------------------------------------------------------------------------------------------


def next_epoch(epoch: int) -> int:
    """The epoch after this one. Stays at 2**64 - 1, because one that wrapped would let old decisions pass as new."""
    return min(_checked_epoch(epoch) + 1, MAX_EPOCH)


def _checked_epoch(epoch: object) -> int:
    if not isinstance(epoch, int) or isinstance(epoch, bool):
        raise TypeError(f"An epoch is int, not {type(epoch).__name__}.")
    if not 0 <= epoch <= MAX_EPOCH:
        raise ValueError(f"An epoch is from 0 to 2**64 - 1, not {shown(epoch)}.")
    return epoch


# --- The parts of a decision ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """The one place a request goes to: a resource (model, index, service) of a cluster.

    `endpoint` is the base URL under which the cluster is reached at the moment, None where the sink knows it. It is no
    part of the identity: two targets are equal, and hash equally, whatever their endpoints. As text
    `cluster/resource`. Raises `TypeError` and `ValueError` for a name that is no text, blank, or with control
    characters, and for an endpoint that is no absolute URL or holds credentials.
    """

    cluster: str
    resource: str
    endpoint: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("cluster", "resource"):
            _check_name(name, getattr(self, name))
        if self.endpoint is not None:
            if not isinstance(self.endpoint, str):
                raise TypeError(f"endpoint is None or str, not {type(self.endpoint).__name__}.")
            plain = self.endpoint.isascii() and self.endpoint.isprintable()
            if not plain or not _is_endpoint(self.endpoint):
                # Not echoed: what is wrong may be the credentials.
                raise ValueError("An endpoint is an absolute URL in visible ASCII, without credentials and fragment.")

    def __str__(self) -> str:
        return f"{self.cluster}/{self.resource}"


@dataclass(frozen=True, slots=True)
class HeaderOp:
    """One change of the request's headers: `set` leaves one header of this name, with this value, whatever was sent;
    `append` adds one beside those of the same name; `remove` takes all of that name away, and has no value.

    Names are in lower case and tokens of RFC 9110, values visible ASCII with spaces and tabs inside, perhaps empty, so
    that neither can end a header early or begin another; those that frame the message (`content-length`,
    `transfer-encoding`, `connection` and its like) are not to be changed. Raises `TypeError` and `ValueError`.
    """

    kind: HeaderOpKind
    name: str
    value: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in _KINDS:
            raise ValueError(f"A header operation is set, append or remove, not {shown(self.kind)}.")
        if not isinstance(self.name, str):
            raise TypeError(f"The name of a header is str, not {type(self.name).__name__}.")
        if not _is_header_name(self.name):
            raise ValueError(f"The name of a header is a token in lower case, not {shown(self.name)}.")
        if self.name in _FRAMING:
            raise ValueError(f"{self.name} belongs to the connection; whoever sends the request writes it.")
        if self.kind == "remove":
            if self.value is not None:
                raise ValueError("A header is removed whatever its value; give none.")
        elif not isinstance(self.value, str):
            raise TypeError(f"The value of a header is str, not {type(self.value).__name__}.")
        elif not _is_header_value(self.value):
            # Not echoed: it may be a credential.
            raise ValueError(f"The value for {self.name} is visible ASCII, with spaces and tabs only inside.")

    def __repr__(self) -> str:
        value = "" if self.value is None else ", <hidden>"
        return f"HeaderOp({self.kind!r}, {self.name!r}{value})"


@dataclass(frozen=True, slots=True)
class Inject:
    """A change of the body, a JSON object: these members are put into it, in place of its own of the same names.

    `fields` are pairs of name and JSON value, or a mapping. They are copied, lists as tuples, so that nobody changes
    them afterwards. Empty `fields` are still a transform: the body is read and written again. Raises `TypeError` for
    what is no list of pairs, `ValueError` for a name that is there twice and for a value that is not JSON.
    """

    fields: tuple[tuple[str, Any], ...]

    def __init__(self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        if isinstance(fields, str | bytes) or not isinstance(fields, Iterable):
            raise TypeError(f"fields are pairs of name and value, not {type(fields).__name__}.")
        found: dict[str, Any] = {}
        for pair in fields.items() if isinstance(fields, Mapping) else fields:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise TypeError("Every field is a pair of name and value.")
            name, value = pair
            _check_name("The name of a field", name)
            if name in found:
                raise ValueError(f"The field {shown(name)} is there twice.")
            canonical_bytes(value)  # raises NotCanonical, a ValueError, for what is not JSON
            found[name] = frozen(value)
        object.__setattr__(self, "fields", tuple(found.items()))

    def __repr__(self) -> str:
        # Names alone: what is put in often says whose request it is.
        return f"Inject({', '.join(f'{name}=<hidden>' for name, _ in self.fields)})"


#: What a decision may do to a body: a closed set. A new kind is a class here, which every sink has to learn of.
BodyTransform = Inject


@dataclass(frozen=True, slots=True)
class SpiDecision:
    """Where one request goes, exactly one target, and with what changes.

    `protocol` is spoken upstream, whatever the client speaks. `epoch` comes from the very placement state that the
    target was read from, 0 (`NEVER_PLACED`) where there is none; it is no version: an edit of routes stales nothing.
    `header_ops` are applied in order; `body_transform` is None where the body goes through as it is. Immutable: lists
    are copied to tuples. Raises `TypeError` and `ValueError` for a part that is missing or none of its kind.
    """

    target: Target
    protocol: UpstreamProtocol
    epoch: int
    header_ops: tuple[HeaderOp, ...] = ()
    body_transform: BodyTransform | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.target, Target):
            raise TypeError(f"target is a Target, not {type(self.target).__name__}.")
        if not isinstance(self.protocol, str) or self.protocol not in _PROTOCOLS:
            raise ValueError(f"protocol is http1, http2 or grpc, not {shown(self.protocol)}.")
        _checked_epoch(self.epoch)
        if not isinstance(self.header_ops, list | tuple):
            raise TypeError(f"header_ops is a list of HeaderOp, not {type(self.header_ops).__name__}.")
        if not all(isinstance(op, HeaderOp) for op in self.header_ops):
            raise TypeError("header_ops holds HeaderOp and nothing else.")
        object.__setattr__(self, "header_ops", tuple(self.header_ops))
        if not isinstance(self.body_transform, BodyTransform | None):
            raise TypeError(f"body_transform is None or Inject, not {type(self.body_transform).__name__}.")

    @classmethod
    def passthrough(cls, target: Target, protocol: UpstreamProtocol, epoch: int) -> SpiDecision:
        """The decision that sends the request on as it came."""
        return cls(target, protocol, epoch)

    def with_header_ops(self, header_ops: Iterable[HeaderOp]) -> SpiDecision:
        """The same decision with these header operations instead of its own."""
        return replace(self, header_ops=tuple(header_ops))

    def with_body_transform(self, body_transform: BodyTransform | None) -> SpiDecision:
        """The same decision with this body transform instead of its own."""
        return replace(self, body_transform=body_transform)


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} is str, not {type(name).__name__}.")
    if not name.strip() or unsupported_in(name):
        raise ValueError(f"{what} is not blank and has no control characters: {shown(name)}.")


# --- The protocol ---------------------------------------------------------------------------------------------------


class RoutingSpi[Context](Protocol):
    """A router. `Context` is what the gateway knows of a request: a `RequestContext`, or a type of its own.

    One lives as long as the process and is asked by many requests at a time.
    """

    async def route(self, ctx: Context) -> SpiDecision:
        """Where this authenticated request goes: exactly one target.

        Does not block the event loop, raises `RoutingError` and nothing else (`PartitionUnresolved`,
        `PlacementMissing`, `PlacementUnavailable`, `UnsupportedEndpoint`, ...), and takes the decision's epoch from the
        same reading of the placement as its target. Call it through `resolve`, which holds a router to that.
        """
        ...


async def resolve[Context](
    spi: RoutingSpi[Context], ctx: Context, *, timeout_seconds: float | None = None
) -> SpiDecision:
    """The router's decision. Whatever the router does, raises `RoutingError` and nothing else.

    With `timeout_seconds`, one that does not answer in that time is cancelled, and is `Internal` too. What neither answers
    nor lets itself be cancelled cannot be ended from here.
    An exception from outside that tree becomes `Internal`, which has it as its cause, and so does an answer that is no
    `SpiDecision`. What ends the task or the process is no answer and passes: `KeyboardInterrupt`, `SystemExit`, and
    `CancelledError` where it is this task that was cancelled; from something the router waited for it is `Internal` too, as
    is a panic of an extension. Outside a task of asyncio nothing but an `Exception` is.
    The message names types alone, because it may reach a client.
    """
    return await answer_of(spi, lambda: spi.route(ctx), SpiDecision, timeout_seconds=timeout_seconds)


async def answer_of[Answer](
    spi: object, ask: Callable[[], Awaitable[object]], kind: type[Answer], *, timeout_seconds: float | None = None
) -> Answer:
    """What `ask` is answered by `spi`, an implementation that may do anything: an answer of this kind, or a `RoutingError`,
    as `resolve` says."""
    try:
        answer = await _within(ask(), timeout_seconds)
    except RoutingError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and _is_an_end(error):
            raise
        raise Internal(f"{type(spi).__name__} failed with {type(error).__name__}.") from error
    if not isinstance(answer, kind):
        raise Internal(f"{type(spi).__name__} answered {type(answer).__name__} instead of {kind.__name__}.")
    return answer


async def _within[Answer](answer: Awaitable[Answer], seconds: float | None) -> Answer:
    if seconds is None:
        return await answer
    import asyncio  # programs without it have no timeouts

    async with asyncio.timeout(seconds):
        return await answer


def _is_an_end(error: BaseException) -> bool:
    """Whether this ends the process or the task that runs. What says that another task was cancelled does not; nor does a
    panic of an extension, which is no `Exception` either."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return True
    asyncio = sys.modules.get("asyncio")  # programs without it have no tasks, and need not import it
    try:
        task = asyncio.current_task() if asyncio is not None else None
    except RuntimeError:
        task = None  # no event loop of asyncio runs
    if asyncio is None or task is None:
        return True  # whoever does run this knows what cancels
    return isinstance(error, asyncio.CancelledError) and task.cancelling() > 0
