"""What the log says, as the given formatter writes it."""

import io
import logging
from collections.abc import Callable


class lines_of:
    """A context that gives what was written in it since the last time that somebody asked."""

    def __init__(self, formatter: logging.Formatter) -> None:
        self.handler = logging.StreamHandler(io.StringIO())
        self.handler.setFormatter(formatter)

    def __enter__(self) -> Callable[[], str]:
        logging.getLogger("routing_admin.requests").setLevel(logging.NOTSET)  # as in production
        logging.getLogger().addHandler(self.handler)
        return self.taken

    def taken(self) -> str:
        text = self.handler.stream.getvalue()
        self.handler.stream = io.StringIO()
        return text

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self.handler)
        logging.getLogger("routing_admin.requests").setLevel(logging.WARNING)
