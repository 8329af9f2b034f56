"""Conditions as people write them: one row for each, in groups. The editor and the page of help are made of these."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """What a row says of requests."""

    name: str
    #: As its row begins.
    title: str
    #: One line: what it compares, and how.
    help: str
    example: str
    #: The fields of the form that belong to it, and the engine's conditions that they become.
    fields: tuple[str, ...]
    keys: tuple[str, ...]


def _of(key: str, title: str, help: str, example: str) -> Kind:
    return Kind(key, title, help, example, (key,), (key,))


def _flag(key: str, title: str, help: str, example: str) -> Kind:
    return Kind(key, title, help, example, (key,), (key,))


#: In the order in which they are offered.
GROUPS: Final[tuple[tuple[str, tuple[Kind, ...]], ...]] = (
    (
        "Model",
        (
            _of(
                "model_in",
                "Requested model is one of",
                "The model that the request asks for, written exactly so, upper and lower case too. One of them is enough.",
                "gpt-4o",
            ),
            _of(
                "model_matches",
                "Requested model matches one of",
                "One pattern a line. * stands for any characters, or none; nothing else is special.",
                "gpt-4*",
            ),
        ),
    ),
    (
        "Size",
        (
            Kind(
                "input_tokens",
                "Input tokens",
                "The length of the request in tokens. The bounds themselves are not included.",
                "fewer than 2000",
                ("input_tokens_gt", "input_tokens_lt"),
                ("input_tokens_gt", "input_tokens_lt"),
            ),
        ),
    ),
    (
        "Content",
        (
            _flag(
                "has_images",
                "Has images",
                "Whether any message of the request carries a picture.",
                "Yes, to send them to a model that can see",
            ),
            _flag(
                "has_audio",
                "Has audio",
                "Whether any message of the request carries sound.",
                "Yes, to send them to a model that can hear",
            ),
            _flag(
                "has_documents",
                "Has documents",
                "Whether any message of the request carries a file.",
                "No, so that files stay with the requested model",
            ),
            _flag(
                "has_tools",
                "Has tools",
                "Whether the request offers tools that the model may call.",
                "No, for a model that cannot call any",
            ),
            _flag(
                "is_stream", "Is streamed", "Whether the answer is wanted piece by piece.", "No, for what runs at night"
            ),
        ),
    ),
    (
        "Text",
        (
            _of(
                "prompt_contains_any_of",
                "Text contains any of",
                "One word or phrase a line, anywhere in the user and system text; upper and lower case are alike. Spaces"
                " around a word count.",
                "refund",
            ),
            _of(
                "prompt_matches_any_of",
                "Text matches any of these patterns",
                "One regular expression (RE2) a line, found anywhere in the user and system text. (?i) in front: upper and"
                " lower case are alike.",
                r"(?i)invoice \d+",
            ),
        ),
    ),
    (
        "Cost and latency",
        (
            Kind(
                "estimated_cost",
                "Estimated cost",
                "What the request would cost in US dollars at the model that it asks for, as estimated before it is sent.",
                "more than 0.05",
                ("estimated_cost_gt", "estimated_cost_lt"),
                ("estimated_cost_gt", "estimated_cost_lt"),
            ),
            _of(
                "upstream_latency_ms_p95_gt",
                "Upstream p95 latency above (ms)",
                "How many milliseconds the slowest 5% of answers take or more, as the gateway measures them.",
                "3000",
            ),
            _of(
                "numbers",
                "The gateway's own figures",
                "One a line: a figure that the gateway counts itself, and its bounds. All of them must hold.",
                "budget_share > 0.8",
            ),
        ),
    ),
    (
        "Metadata and headers",
        (
            _of(
                "tag_equals",
                "Tag is",
                "The tag of the request, written exactly so: upper and lower case differ.",
                "support",
            ),
            _of(
                "metadata",
                "Metadata",
                "One key a line, with the values of which one must be there. All keys must hold.",
                "team = search, ads",
            ),
            _of(
                "headers",
                "Request headers",
                "One name a line, in lower case, with the values of which one must be there. All of them must hold.",
                "x-customer = acme, globex",
            ),
        ),
    ),
    (
        "Time",
        (
            Kind(
                "time_window",
                "Time of day and week",
                "The clock in a time zone, when the request comes. The end is not included, and the same time twice is the"
                " whole day. A window over midnight belongs to the day on which it begins.",
                "22:00 to 06:00, Europe/Berlin, Monday to Friday",
                ("window_from", "window_to", "window_tz", "window_days"),
                ("time_window",),
            ),
        ),
    ),
)
