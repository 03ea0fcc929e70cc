"""Verify, checkpoints, proofs and bundles on the command line, beside a server and alone."""

import asyncio
import base64
import json
import shutil
import subprocess
import sys

import pytest
from loopback import running_proxy
from sealed_logs import all_rows, edit, settings_of
from typer.testing import CliRunner

from apikeyrouter.adapters.proof.offline import verify as offline
from apikeyrouter.domain.proof.checkpoints import parse_checkpoint
from apikeyrouter.domain.proof.leaves import row_hash
from apikeyrouter.domain.proof.merkle import consistency_holds, inclusion_holds
from apikeyrouter.domain.proof.notes import parse_note
from apikeyrouter.interfaces.cli.main import app


def run(log, *arguments):
    return CliRunner().invoke(app, [*arguments, "--database", str(log)])


def data(log, *arguments):
    return json.loads(run(log, *arguments, "--json").stdout)


class TestVerify:
    def test_an_intact_log(self, original):
        """Exit code 0, how much was compared, and nothing else."""
        result = run(original, "verify")
        assert result.exit_code == 0
        assert "nothing was changed" in result.stdout
        told = data(original, "verify")
        assert (told["intact"], told["first_bad_position"], told["findings"]) == (True, None, [])

    def test_a_changed_event(self, log):
        """Exit code 1, and where."""
        edit(log, "UPDATE stored_events SET topic = 'x' WHERE notification_id = 33")
        result = run(log, "verify")
        assert result.exit_code == 1
        assert "first at position 33" in result.stdout
        told = data(log, "verify")
        assert (told["first_bad_position"], told["findings"][0]["trouble"]) == (33, "changed")

    def test_a_checkpoint_kept_elsewhere(self, log, tmp_path):
        """What `proof checkpoint` printed is what `verify --checkpoint` takes."""
        kept = tmp_path / "kept"
        kept.write_text(run(log, "proof", "checkpoint").stdout)
        assert run(log, "verify", "--checkpoint", str(kept)).exit_code == 0
        kept.write_text(kept.read_text().replace("\n2", "\n1", 1))
        assert run(log, "verify", "--checkpoint", str(kept)).exit_code == 1

    def test_a_key_that_is_known(self, log):
        """The key of another log verifies nothing, and no key at all is refused."""
        key = run(log, "proof", "key").stdout.strip()
        assert run(log, "verify", "--key", key).exit_code == 0
        other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        assert run(log, "verify", "--key", other).exit_code == 1
        refused = run(log, "verify", "--key", "nonsense")
        assert "the key is not usable" in refused.stderr

    def test_a_log_that_was_never_sealed(self, log):
        """Without key and seals there is nothing to compare with, and that is said."""
        log.with_name("log.db.signing-key").unlink()
        refused = run(log, "verify")
        assert (refused.exit_code, "is gone: bring it" in " ".join(refused.stderr.split())) == (1, True)
        shutil.rmtree(log.with_name("log.db.seals"))
        refused = run(log, "verify")
        assert (refused.exit_code, "never sealed" in refused.stderr) == (1, True)

    def test_what_is_no_checkpoint(self, log, tmp_path):
        """A file that was named by mistake says nothing against the log."""
        (tmp_path / "script.json").write_text('{"keys": {}}')
        refused = run(log, "verify", "--checkpoint", str(tmp_path / "script.json"))
        assert refused.exit_code == 2
        assert "is no checkpoint" in " ".join(refused.stderr.split())

    def test_no_log(self, tmp_path):
        """A file that is not there is no intact log."""
        assert run(tmp_path / "nothing.db", "verify").exit_code == 1


class TestProofs:
    def test_an_event(self, original):
        """The proof holds for the event that stands there, by the RFC's own rules."""
        rows = all_rows(original)
        for position in (1, 100, len(rows)):
            told = data(original, "proof", "event", str(position))
            checkpoint = parse_checkpoint(parse_note(told["checkpoint"].encode()).text)
            path = [base64.b64decode(step) for step in told["path"]]
            leaf = row_hash(rows[position - 1])
            assert inclusion_holds(leaf, position - 1, checkpoint.size, path, checkpoint.root)
        assert "leaf" in run(original, "proof", "event", "5").stdout
        assert run(original, "proof", "event", "100000").exit_code == 1

    def test_growth(self, original):
        """The proof leads from an earlier root to the latest."""
        told = data(original, "proof", "growth", "77")
        checkpoint = parse_checkpoint(parse_note(told["checkpoint"].encode()).text)
        path = [base64.b64decode(step) for step in told["path"]]
        old_root = base64.b64decode(told["old_root"])
        assert consistency_holds(77, checkpoint.size, path, old_root, checkpoint.root)
        assert "from 77" in run(original, "proof", "growth", "77").stdout
        assert run(original, "proof", "growth", "100000").exit_code == 1

    def test_a_bundle_of_a_request(self, original, tmp_path):
        """Made here, verified there; the command that is printed is the one that works."""
        request_id = next(row.stream for row in all_rows(original) if row.stream.startswith("request-"))
        out = tmp_path / "evidence"
        made = run(original, "proof", "bundle", request_id, "--out", str(out))
        assert made.exit_code == 0, made.stderr
        assert "python -I verify.py" in made.stdout
        command = [
            sys.executable,
            "-I",
            str(out / "verify.py"),
            "--key",
            data(original, "proof", "key")["key"],
        ]
        assert subprocess.run(command, timeout=60, capture_output=True, check=False).returncode == 0

    def test_bundles_of_ranges(self, original, tmp_path):
        """By positions, to the end, or by time."""
        out = str(tmp_path / "by-position.zip")
        told = data(original, "proof", "bundle", "--first", "10", "--last", "19", "--out", out)
        assert (told["kind"], told["subject"], told["events"]) == ("positions", "10-19", 10)
        out = str(tmp_path / "to-the-end.zip")
        told = data(original, "proof", "bundle", "--first", "10", "--out", out)
        assert told["events"] == len(all_rows(original)) - 9
        out = str(tmp_path / "by-time.zip")
        told = data(original, "proof", "bundle", "--since", "2020-01-01", "--out", out)
        assert told["events"] == len(all_rows(original))

    @pytest.mark.parametrize("arguments", [[], ["request-1", "--first", "1"]])
    def test_one_subject(self, original, arguments):
        """A bundle is about one thing."""
        assert run(original, "proof", "bundle", *arguments).exit_code == 2

    def test_the_checkpoint_read(self, original):
        """With --json the checkpoint is read, with the time at which the log vouched for it."""
        told = data(original, "proof", "checkpoint")
        assert told["size"] == len(all_rows(original))
        assert told["time_s"] > 1_700_000_000
        assert told["key"].startswith(f"{told['origin']}+")


class TestOverHttp:
    async def test_beside_requests(self, log):
        """A running server hands out checkpoints, proofs and evidence to who may manage it."""
        async with running_proxy(settings_of(log, seal_interval_s=0.01)) as proxy:
            headers = {"x-api-key": "run-key-of-the-tests"}

            async def get(path, **query):
                return await proxy.client.get(f"/api/v1/{path}", params=query, headers=headers)

            told = (await get("checkpoints")).json()
            assert parse_checkpoint(parse_note(told["note"].encode()).text).size == told["size"]
            proof = (await get("proofs/events/7")).json()
            assert proof["position"] == 7
            growth = (await get("proofs/growth", old_size=20)).json()
            assert growth["old_size"] == 20
            archive = await get("proofs/positions", first=5, last=25)
            (log.parent / "got.zip").write_bytes(archive.content)
            files = offline.read_bundle(log.parent / "got.zip")
            assert offline.verify(files, told["key"])["events"] == 21
            request_id = next(row.stream for row in all_rows(log) if row.stream.startswith("request-"))
            archive = await get(f"proofs/requests/{request_id}")
            assert archive.headers["content-type"] == "application/zip"
            assert (await get("proofs/events/100000")).status_code == 404
            assert (await get("proofs/growth", old_size=100000)).status_code == 400
            assert (await proxy.client.get("/api/v1/checkpoints")).status_code == 401
            beside = await asyncio.to_thread(run, log, "verify")
            assert beside.exit_code == 0, beside.stdout

    async def test_a_log_in_memory(self):
        """What ends with its process is not sealed, and says so."""
        async with running_proxy() as proxy:
            headers = {"x-api-key": "run-key-of-the-tests"}
            answer = await proxy.client.get("/api/v1/checkpoints", headers=headers)
            assert (answer.status_code, "memory" in answer.text) == (404, True)
