"""The one base class of everything xdistill reports to its user."""

LONGEST_SHOWN = 60


class XDistillError(Exception):
    """A user's mistake or bad input, with what to do about it.

    Subclasses also inherit the matching builtin (``LabelStoreError(XDistillError, OSError)``). The
    command line prints the message without a traceback; any other exception is a defect of
    xdistill and keeps it.

    Args:
        found: What is wrong: a sentence that names the offending thing.
        expected: What belongs there instead.
        where: The file, key, frame or option.
        remedy: What to do next, beginning with a verb.
    """

    def __init__(
        self,
        found: str,
        *,
        expected: str | None = None,
        where: str | object | None = None,
        remedy: str | None = None,
    ) -> None:
        labelled = {"expected": expected, "where": where, "what to do": remedy}
        lines = [found, *(f"  {name}: {text}" for name, text in labelled.items() if text)]
        # One positional argument, so that the message survives pickling between processes.
        super().__init__("\n".join(lines))

    @property
    def headline(self) -> str:
        """The first line: what is wrong, without what was expected, where, and what to do."""
        return str(self).partition("\n")[0]


class ManifestError(XDistillError, ValueError):
    """A table, recipe or scheme that is missing or malformed."""


class OutputError(XDistillError, OSError):
    """A result that cannot be written where it was asked for."""


class WeightsError(XDistillError, ValueError):
    """A file of weights that is missing, damaged, or of another network."""


class FetchError(XDistillError, OSError):
    """A published file that could not be downloaded, or differs from the published one."""


def shown(value: object) -> str:
    """A user's value for a message, cut where it is long."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
