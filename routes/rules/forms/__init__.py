"""The forms of the pages about routes.

`route` (the editor, and what happens to requests that no route takes) of `parts` and `conditions`, which come as `rows`;
`request` (trying one, keeping one), `fields` (single fields), `lines` (what people write a line at a time).
"""

from routes.rules.forms.request import ExampleForm, RequestForm, TryForm
from routes.rules.forms.route import DefaultForm, RouteForm

__all__ = ["DefaultForm", "ExampleForm", "RequestForm", "RouteForm", "TryForm"]
