"""A refusal ends as one paragraph on standard error and exit code 1, never as a traceback."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from apikeyrouter.domain.models.system_error import SystemError as RouterError

REFUSED = 1


class RefusingGroup(TyperGroup):
    """The root of the commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command, and tell a refusal in words."""
        try:
            return super().invoke(ctx)
        except RouterError as error:
            sys.stderr.write(f"apikeyrouter: {error.message}\n")
            raise typer.Exit(REFUSED) from None
