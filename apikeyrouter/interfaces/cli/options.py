"""Options that several commands share, and the settings that they make."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from apikeyrouter.settings import RouterSettings

Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        "-d",
        metavar="PATH",
        help="The log's file. Default: APIKEYROUTER_DATABASE_URL, else ./apikeyrouter.db.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Processes that share the work.",
        show_default="one a processor, fewer for little work",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def settings_from(**given: Any) -> "RouterSettings":
    """Make the settings of a command: options win over the environment, that over the defaults."""
    from apikeyrouter.settings import RouterSettings

    return RouterSettings.for_server(**{name: value for name, value in given.items() if value is not None})
