"""`apikeyrouter forecast [KEY]`: what is foreseen for the quotas of the keys."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from apikeyrouter.interfaces.cli.options import AsJson, Database
from apikeyrouter.interfaces.cli.screen import console, print_json

if TYPE_CHECKING:
    from apikeyrouter.domain.state import RouterState

SHOWN_FIRST = "show"
HELP = "Foresee when quotas run out: `apikeyrouter forecast [KEY_ID]` shows it, backtest scores it."


class ShowingGroup(TyperGroup):
    """A group that shows where no command of it is named: `forecast KEY` is `forecast show KEY`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front that nobody needs to type."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [SHOWN_FIRST, *args]
        return super().parse_args(ctx, args)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        SHOWN_FIRST, epilog="Examples: apikeyrouter forecast · apikeyrouter forecast show KEY_ID --json"
    )(show)


def show(
    key_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[KEY_ID]", help="Only this key; default: every known limit.", show_default=False
        ),
    ] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Foresee which quotas run out before they are given back, when, and how sure that is."""
    from apikeyrouter.interfaces.cli.log_access import folded, open_reader

    state = folded(open_reader(database))
    told = _of_all(state) if key_id is None else _of_key(state, key_id)
    if as_json:
        print_json(told)
        return
    _show(told if isinstance(told, list) else told["accounts"], state)
    if isinstance(told, dict) and told["method"] and not told["accounts"]:
        console().print(f"Exhausted: {told['method']}.")


def _of_all(state: "RouterState") -> list[dict[str, Any]]:
    from apikeyrouter.interfaces.cli.quota_tables import outlook_now
    from apikeyrouter.interfaces.quota_views import account_forecast

    return [account_forecast(one).model_dump(mode="json") for one in outlook_now(state).standings()]


def _of_key(state: "RouterState", key_id: str) -> dict[str, Any]:
    from apikeyrouter.domain.models.system_error import NotFoundError
    from apikeyrouter.interfaces.cli.quota_tables import outlook_now

    key = state.keys.get(key_id)
    if key is None:
        raise NotFoundError(f"no key has the id {key_id[:64]!r}", param="key_id")
    return outlook_now(state).prediction(key).model_dump(mode="json")


def _show(accounts: list[dict[str, Any]], state: "RouterState") -> None:
    from apikeyrouter.interfaces.cli.quota_tables import show_forecasts

    labels = {key.key_id: str(key.metadata.get("label", key.key_id)) for key in state.keys.values()}
    if accounts:
        show_forecasts(accounts, labels)
        overall = state.quotas.scores.overall
        if overall.brier is not None and overall.calibration_error is not None:
            console().print(
                f"Of {overall.told:,} forecasts scored so far {overall.came_true:,} came true: "
                f"Brier score {overall.brier:.3f}, calibration error {overall.calibration_error:.3f}."
            )
    else:
        console().print(
            "No limit is known, so nothing can be foreseen. Declare one with: apikeyrouter keys limit"
        )
