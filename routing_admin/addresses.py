"""Where a request comes from: what rates and lock-outs count by."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from django.conf import settings
from django.http import HttpRequest

#: One client has all of such a network.
_IPV6_PREFIX: Final = 64


def client_address(request: HttpRequest) -> str | None:
    """Of the client: the address that connected or, behind so many proxies of one's own, the one that the first of them
    saw. Of IPv6 the first address of its /64; None for what is no address, such as a socket of the file system."""
    proxies: int = settings.NUM_PROXIES
    told = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    text = told[-proxies] if proxies and len(told) >= proxies else str(request.META.get("REMOTE_ADDR", ""))
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or ip_network((found, _IPV6_PREFIX), strict=False).network_address
    return str(found)
