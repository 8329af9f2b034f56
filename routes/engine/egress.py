"""Which addresses a gateway may connect to for an organisation, whoever wrote the URL and however it is spelled."""

from __future__ import annotations

import socket
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from routes.engine.errors import EgressDenied
from routes.engine.reading import ON_WRITE, UNLIMITED, Reading, shown

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_PRIVATE_UPSTREAMS = 100
MAX_PORT = 65_535


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(each) for each in text.split())


#: No list of any organisation opens these: the machine itself, its link, everybody at once.
_NEVER = _networks(
    "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 255.255.255.255/32 ::/128 ::1/128 fe80::/10 fec0::/10 ff00::/8"
)
#: Where clouds hand out the credentials of the machine that asks (AWS, Alibaba, Oracle, Azure, Google), beside those that
#: are link-local anyway. Single addresses, which may lie in a network that is somebody's own.
_METADATA = frozenset(map(ip_address, "100.100.100.200 192.0.0.192 168.63.129.16 fd00:ec2::254 fd20:ce::254".split()))
#: Nobody's server stands here on the public Internet (IANA's registries of special addresses, 2025), though `is_global`
#: of some releases of Python says so.
_NOT_PUBLIC = _networks(
    "10.0.0.0/8 100.64.0.0/10 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 "
    "198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 "
    "64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 3fff::/20 5f00::/16 fc00::/7"
)
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_TEREDO = ip_network("2001::/32")
_SIX_TO_FOUR = ip_network("2002::/16")
_COMPATIBLE = ip_network("::/96")
_TRANSLATED = ip_network("::ffff:0:0:0/96")
#: The interface's half of an ISATAP address, whose last 32 bits are an IPv4 address.
_ISATAP = (0x5EFE, 0x0200_5EFE)


@dataclass(frozen=True, slots=True)
class PrivateUpstream:
    """A network and a port to which an organisation's services may lead though they are not public: `10.1.0.0/16`, 8080.

    Given by staff of the installation, never by those who edit services. Raises `InvalidRoute` for what is no network, has
    bits of a host, or reaches into what is never opened (loopback, link-local, multicast, unspecified addresses), and for
    what is no port.
    """

    network: str
    port: int
    _parsed: Network = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reading = Reading(UNLIMITED)
        parsed = _read_network(self.network, reading)
        _read_port(self.port, reading)
        reading.result(parsed)
        assert parsed is not None
        object.__setattr__(self, "network", str(parsed))
        object.__setattr__(self, "_parsed", parsed)

    @classmethod
    def from_dict(cls, raw: object) -> PrivateUpstream:
        """The value of a JSON object `{"network", "port"}`. Raises `InvalidRoute` with all issues."""
        reading = Reading(ON_WRITE)
        values = reading.fields(raw, "", ("network", "port"), ("network", "port"))
        if "network" in values:
            _read_network(values["network"], reading)
        if "port" in values:
            _read_port(values["port"], reading)
        return cls(**reading.result(values))

    def to_dict(self) -> dict[str, Any]:
        return {"network": self.network, "port": self.port}

    def covers(self, address: Address, port: int) -> bool:
        """Whether this address and port are meant; `address` as `plain_address` gives it."""
        return port == self.port and address in self._parsed


def _read_network(raw: object, reading: Reading) -> Network | None:
    if not isinstance(raw, str):
        reading.add("network", "wrong_type", f"A network reads like 10.1.0.0/16, not {shown(raw)}.")
        return None
    try:
        network = ip_network(raw)
    except ValueError as error:
        said = "has bits of a host set; write its first address" if "host bits" in str(error) else "is none"
        reading.add(
            "network", "unsupported_value", f"A network reads like 10.1.0.0/16 or fd12::/32; {shown(raw)} {said}."
        )
        return None
    if any(network.version == never.version and network.overlaps(never) for never in _NEVER):
        said = (
            "Loopback, link-local, multicast and unspecified addresses are never opened; this network has some of them."
        )
        reading.add("network", "unsupported_value", said)
        return None
    return network


def _read_port(raw: object, reading: Reading) -> None:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= MAX_PORT:
        reading.add("port", "out_of_range", f"A port is a whole number from 1 to {MAX_PORT:,}, not {shown(raw)}.")


# --- Judging ----------------------------------------------------------------------------------------------------------


def check_addresses(
    addresses: Iterable[Address | str], port: int, private_upstreams: Iterable[PrivateUpstream] = ()
) -> None:
    """Raises `EgressDenied` unless there are addresses and each may be connected to: of a name with a good one and a bad
    one, which is used is up to chance, and to whoever answers for the name."""
    allowed = tuple(private_upstreams)
    count = 0
    for count, address in enumerate(addresses, 1):  # noqa: B007
        reason = forbidden_reason(address, port, allowed)
        if reason is not None:
            raise EgressDenied(reason)
    if not count:
        raise EgressDenied("The upstream has no address.")


def forbidden_reason(
    address: Address | str, port: int, private_upstreams: Iterable[PrivateUpstream] = ()
) -> str | None:
    """Why this address is not connected to, in a sentence without the address; None: it may be.

    What hides an IPv4 address (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP) is judged by that as well.
    """
    given = ip_address(address) if isinstance(address, str) else address
    plain = plain_address(given)
    for each in (plain, *_hidden(plain)):
        if each in _METADATA or _in(each, _NEVER):
            return "The upstream is an address of the machine itself, of its own link, or of a cloud's metadata."
    if any(upstream.covers(plain, port) for upstream in private_upstreams):
        return None
    if not all(_is_public(each) for each in (plain, *_hidden(plain))):
        return "The upstream is no public address, and not on the organisation's list of private upstreams."
    return None


def plain_address(address: Address) -> Address:
    """The address that a connection goes to: IPv4 also where it is written as IPv6; without a zone."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id is not None:
            return IPv6Address(int(address))
    return address


def _hidden(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses to which a router could turn this one."""
    if not isinstance(address, IPv6Address):
        return ()
    number = int(address)
    low = IPv4Address(number & 0xFFFF_FFFF)
    if address in _TEREDO:
        return IPv4Address(number >> 64 & 0xFFFF_FFFF), IPv4Address(~number & 0xFFFF_FFFF)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(number >> 80 & 0xFFFF_FFFF),)
    if address in _NAT64 or address in _TRANSLATED or (address in _COMPATIBLE and number > 1):
        return (low,)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        return (low,)
    return ()


def _is_public(address: Address) -> bool:
    if _in(address, _NOT_PUBLIC):
        return False
    if isinstance(address, IPv6Address):
        return address in _GLOBAL_UNICAST or address in _NAT64
    return address.is_global and not address.is_multicast


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)  # of another version: never


# --- Spellings --------------------------------------------------------------------------------------------------------


def literal_address(host: str) -> Address | None:
    """The address that this host is, whatever it is written like; None for a name, which has to be resolved.

    Reads what `getaddrinfo` reads: IPv4 as one to four numbers, each decimal, octal or hexadecimal; IPv6, in brackets or
    not, with a zone or not; digits of any script, and full stops of any.
    """
    text = unicodedata.normalize("NFKC", host).replace("\u3002", ".").strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return ip_address(bare)
    except ValueError:
        pass
    digits = bare.removesuffix(".")
    if not digits or not digits.isascii() or any(letter.isspace() for letter in digits):
        return None
    try:
        return IPv4Address(socket.inet_aton(digits))
    except (OSError, ValueError):
        return None
