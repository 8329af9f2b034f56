"""What templates of all subjects share of the interface: icons, how long ago something was."""

from datetime import datetime, timedelta
from typing import Final

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timesince

register = template.Library()

#: By name the strokes of each icon, on a square of 24.
ICONS: Final = {
    "access": "M14.5 9.5a4.5 4.5 0 1 0-4.2 4.5L12 12.5h2v-2M13 13l-7.5 7.5H3V18l5-5M15.5 7.5v.01",
    "alert": "M12 4 2.8 20h18.4L12 4ZM12 10v4.5M12 17.2v.01",
    "audit": "M12 3 4.5 6v5.5c0 4.6 3.1 8 7.5 9.5 4.4-1.5 7.5-4.9 7.5-9.5V6L12 3ZM8.8 12l2.3 2.3 4.2-4.4",
    "check": "M4.5 12.5 10 18 19.5 7",
    "clock": "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 7v5.2l3.4 2",
    "close": "M6 6l12 12M18 6 6 18",
    "copy": "M9 9h11v11H9zM5 15H4V4h11v1",
    "down": "M12 5v14M6 13l6 6 6-6",
    "download": "M12 4v11M7 10.5l5 5 5-5M4.5 19.5h15",
    "examples": "M4 5.5h3v3H4zM4 15.5h3v3H4zM11 7h9M11 17h9M4 12h16",
    "expand": "M6.5 9.5 12 15l5.5-5.5",
    "gateways": "M4 4.5h16v6H4zM4 13.5h16v6H4zM7.5 7.5v.01M7.5 16.5v.01M11 7.5h5.5M11 16.5h5.5",
    "grip": "M9 6v.01M15 6v.01M9 12v.01M15 12v.01M9 18v.01M15 18v.01",
    "help": "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM9.5 9.3a2.6 2.6 0 1 1 3.6 2.4c-.7.3-1.1.9-1.1 1.6v.4M12 16.7v.01",
    "history": "M4 4v4.5h4.5M4.4 8.5A8.5 8.5 0 1 1 3.6 13M12 8v4.5l3 1.8",
    "home": "M4 11.2 12 4l8 7.2V20h-5.5v-5.5h-5V20H4v-8.8Z",
    "info": "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 11v5.5M12 7.6v.01",
    "logs": "M4.5 6c0-1.4 3.4-2.5 7.5-2.5S19.5 4.6 19.5 6 16.1 8.5 12 8.5 4.5 7.4 4.5 6Z"
    "M4.5 6v12c0 1.4 3.4 2.5 7.5 2.5s7.5-1.1 7.5-2.5V6M4.5 12c0 1.4 3.4 2.5 7.5 2.5s7.5-1.1 7.5-2.5",
    "menu": "M4 7h16M4 12h16M4 17h16",
    "pause": "M8.5 5.5v13M15.5 5.5v13",
    "placements": "M3.5 12.5h7v7.5h-7zM13.5 4h7v7.5h-7zM7 9V7.5h3.5M8.8 5.5l2 2-2 2M17 15v1.5h-3.5M15.2 18.5l-2-2 2-2",
    "plans": "M4 20.5V3.5M4 20.5h16.5M8.5 16v-5M8.5 9.5v.01M13 13V7M17.5 10V4.5",
    "play": "M7.5 5v14l11-7-11-7Z",
    "plus": "M12 5v14M5 12h14",
    "prices": "M3.5 11.2V4h7.2l9.8 9.8-7.2 7.2-9.8-9.8ZM7.7 8.2v.01",
    "routes": "M5 4v16M5 9c0 3 2 4 5.5 4H19M15.5 9.5 19 13l-3.5 3.5M5 5h10M12.5 2.5 15 5l-2.5 2.5",
    "search": "M10.5 17.5a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM15.6 15.6 20.5 20.5",
    "services": "M4 12h4.5M8.5 12c3 0 3-6 6-6H20M8.5 12c3 0 3 6 6 6H20M8.5 12H20"
    "M17.5 3.5 20 6l-2.5 2.5M17.5 15.5 20 18l-2.5 2.5",
    "trash": "M4.5 7h15M9.5 7V4h5v3M6.5 7l1 13.5h9l1-13.5M10.3 11v6M13.7 11v6",
    "try": "M9 3.5h6M10 3.5v6L4.8 18.4A1.4 1.4 0 0 0 6 20.5h12a1.4 1.4 0 0 0 1.2-2.1L14 9.5v-6M7.6 15h8.8",
    "up": "M12 19V5M6 11l6-6 6 6",
    "upload": "M12 15.5v-11M7 9l5-5 5 5M4.5 19.5h15",
    "user": "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4.5 20.5c.6-3.6 3.6-5.5 7.5-5.5s6.9 1.9 7.5 5.5",
}  # fmt: skip


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of this size of text, in its colour, said to nobody: what it means stands beside it."""
    strokes = mark_safe(ICONS[name])  # noqa: S308  our own
    return format_html(
        '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d="{}"/></svg>', strokes
    )


@register.filter
def ago(when: datetime) -> str:
    """How long ago that was. Within a minute, or by a clock that is ahead of ours, it is just now."""
    now = timezone.now()
    return "just now" if now - when < timedelta(minutes=1) else f"{timesince(when, now)} ago"
