"""What of two decisions is compared: words alone, so that the command line starts without the comparing."""

from enum import StrEnum


class By(StrEnum):
    """What counts as routed otherwise."""

    Key = "key"
    Provider = "provider"
    Verdict = "verdict"
