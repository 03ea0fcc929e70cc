"""How well exhaustion was foreseen, from the state: forecasts are no events, their scores are a fold's."""

from apikeyrouter.application.reporting.questions import ReportAnswer, ReportColumn, ReportQuestion, Unit
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.state import RouterState

FORECAST = "forecast"
ABOUT = (
    "How well it was foreseen that quotas run out: forecasts whose time is over, and their Brier score."
    " Scored by the fold over the whole log, so there is no period, no grouping and no list of events."
)
_COLUMNS = (
    ReportColumn("account", Unit.Text, groups=True),
    ReportColumn("forecasts", Unit.Count),
    ReportColumn("came_true", Unit.Count),
    ReportColumn("brier", Unit.Share),
    ReportColumn("calibration_error", Unit.Share),
)


def forecast_scores(state: RouterState, question: ReportQuestion) -> ReportAnswer:
    """Return the scores of all accounts that have one, and those of all together."""
    if question.by or question.where or any(bound is not None for bound in question.period):
        raise InvalidRequestError(
            "the report forecast takes no period, grouping or condition", param="report"
        )
    quotas = state.quotas
    rows = []
    for row in range(quotas.accounts.count):
        count, brier = quotas.scores.of(row)
        if count:
            rows.append((quotas.accounts.limit_of(row).account_id, count, None, brier, None))
    overall = quotas.scores.overall
    return ReportAnswer(
        question=question,
        about=ABOUT,
        by=("account",),
        columns=_COLUMNS,
        rows=tuple(rows[: question.limit]),
        total=(overall.told, overall.came_true, overall.brier, overall.calibration_error),
        more=len(rows) > question.limit,
        as_of=state.position,
    )
