"""`apikeyrouter replay`: go back in the log, make recorded decisions again, and ask what was."""

import typer

from apikeyrouter.interfaces.cli import replay_bisect, replay_request, replay_state, replay_verify

app = typer.Typer(
    help="Go back in the log: make decisions again, see past states, find what changed a route.",
    no_args_is_help=True,
)

replay_verify.add_to(app)
replay_state.add_to(app)
replay_request.add_to(app)
replay_bisect.add_to(app)
