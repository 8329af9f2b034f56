"""What is said of a sample in sentences."""

from plans.matching.sampling import Sample


def of_week(sample: Sample) -> str:
    return "of the last week" if sample.is_last_week else f"of the week {until(sample)}"


def until(sample: Sample) -> str:
    return f"until {sample.window[1]:%Y-%m-%d}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def about(total: int) -> str:
    """With two digits that say something: a sample knows no more."""
    digits = 10 ** max(0, len(str(total)) - 2)
    return f"{round(total / digits) * digits:,}"
