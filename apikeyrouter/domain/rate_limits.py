"""What a provider says of the limits of a key, beside its answers and its refusals."""

import msgspec


class RateLimitReport(msgspec.Struct, frozen=True, gc=False):
    """One limit of the key that was used, as far as the provider told; None where it did not.

    `dimension` is requests, tokens, input_tokens or output_tokens. `window_us` is known only where the
    provider names the window: many do not.
    """

    dimension: str
    limit: int | None = None
    remaining: int | None = None
    reset_after_us: int | None = None
    window_us: int | None = None


def reset_after_us(reports: tuple[RateLimitReport, ...]) -> int | None:
    """Return when all that is used up is there again; with nothing known to be used up, the nearest reset."""
    known = [report for report in reports if report.reset_after_us is not None]
    used_up = [report.reset_after_us or 0 for report in known if report.remaining == 0]
    return max(used_up) if used_up else min((r.reset_after_us or 0 for r in known), default=None)
