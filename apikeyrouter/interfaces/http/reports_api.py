"""Reports: the same questions as on the command line, and the events behind every number."""

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from apikeyrouter.adapters.reports.files import reports_file
from apikeyrouter.application.reporting.forecasts import FORECAST, forecast_scores
from apikeyrouter.application.reporting.periods import parse_period
from apikeyrouter.application.reporting.questions import ReportQuestion, parse_columns, parse_filters
from apikeyrouter.interfaces.http.headers import ARCHIVED_HEADER
from apikeyrouter.interfaces.http.node_access import NodeDependency
from apikeyrouter.interfaces.report_desk import ReportDesk, known_reports
from apikeyrouter.interfaces.report_formats import MEDIA_TYPES, Format, written
from apikeyrouter.limits import MOST_REPORT_ROWS

router = APIRouter(tags=["reports"])


async def _desk(request: Request, node: NodeDependency) -> ReportDesk:
    """Return this server's desk, opened with the first question."""
    desk: ReportDesk | None = getattr(request.app.state, "report_desk", None)
    if desk is None:
        log = node.settings.database_path
        desk = request.app.state.report_desk = ReportDesk(
            node.reader, None if log is None else reports_file(log)
        )
    return desk


Desk = Annotated[ReportDesk, Depends(_desk)]


async def _question(  # noqa: PLR0913, PLR0917 - the parameters of the query
    report: str,
    node: NodeDependency,
    by: Annotated[list[str] | None, Query(description="Group by these columns.")] = None,
    where: Annotated[list[str] | None, Query(description="Conditions, each column=value.")] = None,
    begin: Annotated[str | None, Query(alias="from", description="A month, a day or an instant.")] = None,
    end: Annotated[str | None, Query(alias="to", description="The end of this month or day.")] = None,
    last: Annotated[str | None, Query(description="Instead: the last 24h, 30d, 4w.")] = None,
    tz: Annotated[str, Query(description="The time zone of days and instants.")] = "UTC",
    limit: Annotated[int, Query(ge=1, le=MOST_REPORT_ROWS)] = 1000,
) -> ReportQuestion:
    return ReportQuestion(
        report=report,
        by=parse_columns(by or ()),
        where=parse_filters(where or ()),
        period=parse_period(begin=begin, end=end, last=last, zone=tz, now_us=node.clock.now_us()),
        zone=tz,
        limit=limit,
    )


Question = Annotated[ReportQuestion, Depends(_question)]


@router.get("/reports")
async def reports() -> list[dict[str, Any]]:
    """List the reports, and what each can be grouped and filtered by."""
    return known_reports()


@router.get("/reports/{report}")  # noqa: FAST003 - the question takes it
async def ask(
    question: Question,
    desk: Desk,
    node: NodeDependency,
    form: Annotated[Format, Query(alias="format")] = Format.Json,
) -> Response:
    """Answer a report; money is in decimal dollars, written as text so that no digit is lost."""
    if question.report == FORECAST:  # of the state, which this thread alone may look at
        answer = forecast_scores(node.state, question)
    else:
        answer = await asyncio.to_thread(desk.ask, question)
    content = await asyncio.to_thread(written, answer, form)
    headers = {ARCHIVED_HEADER: ", ".join(answer.archived)} if answer.archived else None
    return Response(content, media_type=MEDIA_TYPES[form], headers=headers)


@router.get("/reports/{report}/trace")  # noqa: FAST003 - the question takes it
async def trace(
    question: Question, desk: Desk, after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0
) -> dict[str, Any]:
    """List the events behind a number, in pages of `limit`, from a position on."""
    return msgspec.structs.asdict(await asyncio.to_thread(desk.trace, question, after=after))
