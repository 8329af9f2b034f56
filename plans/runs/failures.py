"""What is said of a plan that failed."""


def in_one_line(error: Exception) -> str:
    """What a database says takes several lines, and sometimes it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def failure_text(error: Exception) -> str:
    """What the plan's page says: code and sentence of what is known, the name of the class of what nobody foresaw."""
    if isinstance(error, MemoryError):
        return "out_of_memory: The worker lacks the memory for this plan. Give it more, or replay a shorter window."
    text = f"{code_of(error) or type(error).__name__}: {error}"
    # Without what a database does not take: an error may quote whatever it met.
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")[:2000]


def code_of(error: Exception) -> str:
    """The stable code of an error of ours; "" for others."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else ""
