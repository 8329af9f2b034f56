"""Charts as SVG: numbers and names in, text out. No Django, no settings, no clock, no locale.

marks        what is drawn: an SVG of one width, piece by piece; all texts are escaped
scales       from values to places, and round numbers to write beside an axis
lines        lines over an axis: what a plan costs over time, how long requests take
bars         pairs of bars, and savings with their intervals

Each chart is drawn twice, for a window and for a phone: one picture made smaller could not be read there. Colours are those
of the page, by classes (`static/routing_admin/charts.css`); what they say is said by dashes, shapes and labels too.
"""

from plans.charts.bars import Pair, Saving, pairs, savings
from plans.charts.lines import Line, over_percents, over_time
from plans.charts.marks import Chart

__all__ = ["Chart", "Line", "Pair", "Saving", "over_percents", "over_time", "pairs", "savings"]
