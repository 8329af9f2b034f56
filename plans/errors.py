"""The base of this application's refusals."""


class PlansError(Exception):
    """Something was refused; `code` is stable, the text says what to do."""

    code = "refused"
