"""In which form an answer is given."""

import re
from typing import Any

from django.utils.http import parse_header_parameters
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation

_ZERO = re.compile(r"0(\.0{0,3})?", re.ASCII)


class Negotiation(DefaultContentNegotiation):
    """The stock one takes `q=0` for a wish; it says that this is not acceptable (RFC 9110, 12.4.2). And it refuses before
    anybody knows who asks; here `IsGranted` raises what it finds in `request.not_acceptable`."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        try:
            renderer, media_type = super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable as error:
            return self._refused(request, renderers, error)
        # What the most specific range said that fits, which is the one that counts.
        _, said = parse_header_parameters(media_type)
        if _ZERO.fullmatch(said.get("q", "1")):
            return self._refused(request, renderers, NotAcceptable(available_renderers=renderers))
        return renderer, media_type

    def _refused(self, request: Any, renderers: Any, error: NotAcceptable) -> tuple[Any, str]:
        request.not_acceptable = error
        return renderers[0], renderers[0].media_type
