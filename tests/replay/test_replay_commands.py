"""Replay, what-if and bisect from the command line."""

import json

import pytest
from typer.testing import CliRunner

from apikeyrouter.domain.events import AttemptFailed, KeyRegistered, RequestCompleted
from apikeyrouter.interfaces.cli.main import app
from apikeyrouter.interfaces.state_views import SCOPES


@pytest.fixture
def run(log_file):
    def invoke(*arguments: str):
        return CliRunner().invoke(app, [*arguments, "--database", str(log_file)])

    return invoke


@pytest.fixture
def data(run):
    def invoke(*arguments: str):
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return invoke


@pytest.fixture
def failed_over(history) -> str:
    """A request that was served by its second key."""
    failed = {one.stream for one in history if isinstance(one.event, AttemptFailed)}
    served = {one.stream for one in history if isinstance(one.event, RequestCompleted)}
    return min(failed & served).removeprefix("request-")


class TestState:
    @pytest.mark.parametrize("scope", SCOPES)
    def test_every_part_is_shown(self, run, data, scope):
        """As a page and as JSON, with the position that it stands at."""
        assert data("replay", "state", "--at", "60", "--scope", scope)["position"] == 60
        assert "position 60" in run("replay", "state", "--at", "60", "--scope", scope).stdout

    def test_candidates_for_a_model(self, data):
        """Who would have been chosen then, and who would not, and why."""
        told = data("replay", "state", "--at", "60", "--scope", "candidates", "--model", "gpt-4")
        assert told["candidates"]["chosen"]
        assert "Chose key" in told["candidates"]["explanation"]

    def test_what_cannot_be_asked_is_refused(self, run):
        """A paragraph on what is wrong, and an exit code that says so."""
        assert run("replay", "state", "--scope", "nonsense").exit_code == 1
        assert run("replay", "state", "--at", "soon").exit_code == 1
        assert run("replay", "state", "--scope", "candidates").exit_code == 2


class TestVerify:
    def test_all_is_as_it_was(self, run, data):
        """Exit code 0, and how many decisions were made again."""
        assert data("replay", "verify")["identical"]
        assert "same bytes" in run("replay", "verify").stdout

    def test_a_range(self, data):
        """Only its decisions are compared."""
        whole, part = data("replay", "verify"), data("replay", "verify", "--from", "50", "--to", "99")
        assert part["decisions"] < whole["decisions"]
        assert part["events"] == 99

    def test_by_several_processes(self, data):
        """They find what one finds."""
        assert data("replay", "verify", "--workers", "2") == data("replay", "verify")


class TestRequest:
    def test_its_steps_and_its_replay(self, run, data, failed_over):
        """What each event changed; and the line writes the same again."""
        told = data("replay", "request", failed_over)
        assert told["again"]["identical"] or told["again"]["unable"]
        assert told["steps"][0]["changed"]["request.is_open"] == {"before": False, "after": True}
        page = run("replay", "request", failed_over)
        assert page.exit_code == 0
        assert "in_flight" in page.stdout

    def test_one_that_never_was(self, run):
        """There is nothing to replay."""
        assert run("replay", "request", "0" * 32).exit_code == 1


class TestBisect:
    def test_of_a_request(self, run, data, failed_over):
        """Since which event it went where it went."""
        told = data("replay", "bisect", failed_over, "--by", "key")
        assert told["turn"]["event"]["position"] <= told["last"]
        assert "since this event" in run("replay", "bisect", failed_over, "--by", "key").stdout

    def test_of_a_model(self, data):
        """An intent that nobody sent can be asked about as well."""
        assert data("replay", "bisect", "--model", "gpt-4")["asked"] > 10

    def test_one_or_the_other(self, run, failed_over):
        """A request or a model, not both and not neither."""
        assert run("replay", "bisect").exit_code == 2
        assert run("replay", "bisect", failed_over, "--model", "gpt-4").exit_code == 2


class TestWhatIf:
    def test_nothing_changed(self, run, data):
        """History, to the byte."""
        assert data("what-if")["identical"]
        assert "to the byte" in run("what-if").stdout

    def test_an_objective(self, run, data):
        """Figures before and after with their ranges, who serves, and on what the outcomes stand."""
        told = data("what-if", "--objective", "cost", "--draws", "3")
        cost = told["figures"]["cost_nano_usd"]
        assert cost["low"] <= cost["after"] <= cost["high"]
        assert told["runs"] == 4
        page = run("what-if", "--objective", "cost", "--draws", "2").stdout
        assert "range over the runs" in page
        assert "unknown" in page

    def test_by_several_processes(self, data):
        """Each makes some of the runs; what they came to is what it is."""
        asked = ("what-if", "--objective", "cost", "--draws", "2")
        assert data(*asked, "--workers", "2") == data(*asked, "--workers", "1")

    def test_keys_limits_and_prices(self, data, history):
        """Each kind of change from plain words."""
        key_id = next(one.stream[4:] for one in history if isinstance(one.event, KeyRegistered))
        told = data("what-if", "--remove", key_id, "--draws", "1")
        gone = next(one for one in told["keys"] if one["id"] == key_id)
        assert gone["completed"]["after"] == 0 < gone["completed"]["before"]
        told = data("what-if", "--add", "azure:weight=50,rpm=900", "--draws", "1")
        assert any(one["id"] == "added-1" and one["completed"]["after"] for one in told["keys"])
        told = data("what-if", "--limit", "rpm=1", "--limit", f"{key_id}@tpm=5", "--draws", "1")
        assert told["figures"]["refused"]["after"] > told["figures"]["refused"]["before"]
        told = data("what-if", "--price", "openai/gpt-4=0,0", "--price", "azure/gpt-4=0,0", "--draws", "1")
        assert told["figures"]["cost_nano_usd"]["after"] == 0

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--remove", "nope"), "no key 'nope'"),
            (("--limit", "nope@rpm=1"), "no key 'nope'"),
            (("--add", "nope:rpm=5"), "no provider 'nope'"),
            (("--price", "nope/gpt-4=1,2"), "no provider 'nope'"),
            (("--budget", "nope=5"), "no budget 'nope'"),
            (("--from", "999999"), "no events in that stretch"),
            (("--from", "20", "--to", "10"), "no events in that stretch"),
        ],
    )
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_what_there_never_was_is_refused(self, run, arguments, said, workers):
        """Else a slip of the pen would come out as: nothing that was changed mattered."""
        refused = run("what-if", *arguments, "--draws", "1", "--workers", workers)
        assert refused.exit_code != 0
        assert said in " ".join((refused.stdout + refused.stderr).split())

    def test_a_verification_behind_the_end_is_refused(self, run):
        """It would find that nothing differs."""
        refused = run("replay", "verify", "--from", "999999")
        assert refused.exit_code == 2
        assert "the log ends at" in refused.stdout + refused.stderr

    def test_an_objective_in_json(self, data):
        """Weights and constraints, as in the library."""
        objective = json.dumps({"primary": "cost", "constraints": {"providers": ["azure"]}})
        told = data("what-if", "--objective", objective, "--draws", "1")
        served = {one["id"]: one["completed"]["after"] for one in told["providers"]}
        assert served["openai"] == 0

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--objective", "cheapness"),
            ("--objective", "{not json"),
            ("--price", "gpt-4=1,2"),
            ("--limit", "rpm"),
            ("--add", ":rpm=3"),
            ("--limit", "rpm=many"),
        ],
    )
    def test_a_change_that_cannot_be_read_is_refused(self, run, arguments):
        """Nothing is guessed."""
        result = run("what-if", *arguments)
        assert result.exit_code in {1, 2}
        assert "Traceback" not in result.output
