"""The reports that there are, in the order in which they are listed."""

from apikeyrouter.adapters.reports.counted_reports import COMPLETENESS, QUOTAS, REFUSALS, SLA, SPEND, USAGE
from apikeyrouter.adapters.reports.definitions import Report
from apikeyrouter.adapters.reports.listed_reports import (
    ACCESS,
    ADMIN,
    BUDGETS,
    KEYS,
    LEASES,
    LIMITS,
    PAYLOADS,
    PROVIDERS,
    SEGMENTS,
)

REPORTS: dict[str, Report] = {
    report.name: report
    for report in (
        SPEND,
        USAGE,
        COMPLETENESS,
        SLA,
        REFUSALS,
        ADMIN,
        KEYS,
        PROVIDERS,
        QUOTAS,
        LIMITS,
        BUDGETS,
        LEASES,
        ACCESS,
        PAYLOADS,
        SEGMENTS,
    )
}
