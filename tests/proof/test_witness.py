"""A witness cosigns what follows on what it saw, and nothing else, whatever it is sent."""

import json
import subprocess
import sys

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import eventually
from sealed_logs import copy_log, evidence, root_of, settings_of

from apikeyrouter.adapters.ambient import SystemClock
from apikeyrouter.adapters.proof import witness_visits
from apikeyrouter.adapters.proof.signing import NoteSigner, cosigned_at, signed_by
from apikeyrouter.adapters.proof.witness_client import WitnessRefusedError, ask_witness
from apikeyrouter.adapters.proof.witness_folder import WitnessFolder
from apikeyrouter.application.proof.verification import verify
from apikeyrouter.application.proof.witness import Answer, Witness
from apikeyrouter.bootstrap import open_node
from apikeyrouter.domain.proof.checkpoints import Checkpoint
from apikeyrouter.domain.proof.merkle import EMPTY_ROOT, consistency_proof, leaf_hash
from apikeyrouter.domain.proof.notes import Note, NoteError, VerifierKey, parse_note
from apikeyrouter.domain.proof.witnessing import MOST_STEPS, Submission, parse_submission
from apikeyrouter.errors import ConfigurationError, LogLockedError
from apikeyrouter.interfaces.http.witness_app import MOST_BODY_BYTES, witness_app

HASHES = [leaf_hash(bytes([number])) for number in range(40)]
FORGED = [*HASHES[:9], leaf_hash(b"forged"), *HASHES[10:]]
URL = "http://witness.example"
HEADS = [
    "",
    "old",
    "old -1",
    "old 01",
    "old  1",
    "new 1",
    "old 1\nAAAA",
    "old 1\n!",
    "old ٣",
    f"old {10**20}",
    "old 6",
]
LOG = NoteSigner("apikeyrouter/log", bytes(32))


def submission(size, old_size=0, hashes=HASHES, signer=LOG, proof=None):
    def subtree(first, after):
        return root_of(hashes[first:after])

    checkpoint = Checkpoint(signer.key.name, size, subtree(0, size))
    made = consistency_proof(subtree, old_size, size) if proof is None and old_size <= size else proof or []
    return Submission(old_size, tuple(made), signer.sign(checkpoint.text(), 1), checkpoint)


@pytest.fixture
def folder(tmp_path):
    opened = WitnessFolder(tmp_path / "witness", "witness.example/w")
    yield opened
    opened.close()


@pytest.fixture
def witness(folder):
    return witness_of(folder, LOG.key)


def witness_of(folder, *keys: VerifierKey) -> Witness:
    logs = {key.name: key for key in keys}
    return Witness(logs=logs, memory=folder, cosigner=folder.signer, signed_by=signed_by, clock=SystemClock())


def answered(witness, sent):
    return witness.add_checkpoint(sent.render().encode())


class TestWhatIsCosigned:
    def test_a_log_that_grows(self, witness, folder):
        """Each checkpoint that follows on the last is cosigned, with the time."""
        seen = 0
        for size in (1, 7, 7, 8, 32, 40):
            sent = submission(size, seen)
            answer = answered(witness, sent)
            assert answer.status == 200, answer
            note = folder.recall("apikeyrouter/log")
            assert note.text == sent.note.text
            assert answer.text == note.signatures[-1].line() + "\n"
            assert abs(cosigned_at(note, folder.signer.cosigning_key) - SystemClock().now_us() // 10**6) < 60
            seen = size

    def test_logs_do_not_disturb_each_other(self, folder):
        """Each log has its own last checkpoint."""
        other = NoteSigner("apikeyrouter/other", bytes(31) + b"1")
        witness = witness_of(folder, LOG.key, other.key)
        assert answered(witness, submission(9)).status == 200
        assert answered(witness, submission(5, signer=other)).status == 200
        assert answered(witness, submission(12, 9)).status == 200

    def test_it_remembers_after_a_restart(self, tmp_path):
        """Key and last checkpoints survive; the folder is one process's."""
        first = WitnessFolder(tmp_path / "w", "w")
        assert answered(witness_of(first, LOG.key), submission(9)).status == 200
        with pytest.raises(LogLockedError):
            WitnessFolder(tmp_path / "w", "w")
        first.close()
        second = WitnessFolder(tmp_path / "w", "w")
        assert second.signer.key == first.signer.key
        assert answered(witness_of(second, LOG.key), submission(9)).text == "9\n"
        second.close()


class TestWhatIsRefused:
    def test_another_history(self, witness):
        """A changed event behind the last checkpoint is refused for ever, with any proof."""
        assert answered(witness, submission(12)).status == 200
        assert answered(witness, submission(12, 12, FORGED)) == (409, "12\n")
        for size in (13, 20, 40):
            assert answered(witness, submission(size, 12, FORGED)).status == 422
        assert answered(witness, submission(20, 12)).status == 200

    def test_a_log_that_was_rolled_back(self, witness):
        """A smaller log is told what was seen, and not cosigned."""
        assert answered(witness, submission(12)).status == 200
        for old_size in (0, 5, 10):
            assert answered(witness, submission(10, old_size)) == (409, "12\n")
        assert answered(witness, submission(10, 12, proof=[])).status == 400

    def test_the_wrong_old_size(self, witness):
        """The proof has to begin where the witness stands."""
        assert answered(witness, submission(12)).status == 200
        assert answered(witness, submission(20, 11)) == (409, "12\n")
        assert answered(witness, submission(20)) == (409, "12\n")

    def test_edited_proofs(self, witness):
        """Proofs that were cut, lengthened or changed lead nowhere."""
        assert answered(witness, submission(12)).status == 200
        proof = list(submission(40, 12).proof)
        for edited in (proof[:-1], proof[1:], [*proof, HASHES[0]], proof[::-1], [HASHES[1], *proof[1:]]):
            assert answered(witness, submission(40, 12, proof=edited)).status == 422
        assert answered(witness, submission(5, 0, proof=[HASHES[0]])).status == 409

    def test_a_proof_from_nothing(self, witness):
        """The first checkpoint comes without a proof."""
        assert answered(witness, submission(12, 0, proof=[HASHES[0]])).status == 422

    def test_unknown_logs_and_keys(self, witness):
        """Who is not known is told so; whoever has not the log's key is refused."""
        assert answered(witness, submission(5, signer=NoteSigner("apikeyrouter/x", bytes(32)))).status == 404
        impostor = NoteSigner("apikeyrouter/log", bytes(31) + b"2")
        assert answered(witness, submission(5, signer=impostor)).status == 403
        honest = submission(5)
        unsigned = honest._replace(note=Note(honest.note.text, honest.note.signatures[1:]))
        assert answered(witness, unsigned).status == 403

    @pytest.mark.parametrize("head", HEADS)
    def test_what_is_no_submission(self, witness, head):
        """The first lines have one form."""
        body = f"{head}\n\n{submission(5).note.render()}".encode()
        assert witness.add_checkpoint(body).status == 400

    def test_too_many_steps(self, witness):
        """No proof has more steps than a tree has levels."""
        sent = submission(5, 0, proof=[HASHES[0]] * (MOST_STEPS + 1))
        assert answered(witness, sent).status == 400

    @given(st.binary(max_size=300))
    def test_garbage(self, body):
        """Anything else is refused, and nothing breaks."""
        with pytest.raises(NoteError):
            parse_submission(body)

    def test_there_and_back(self):
        """What is rendered is what is read."""
        sent = submission(20, 12)
        assert parse_submission(sent.render().encode()) == sent

    def test_a_damaged_memory(self, witness, folder, tmp_path):
        """A witness that lost its memory says so, and cosigns nothing."""
        assert answered(witness, submission(12)).status == 200
        (kept,) = (tmp_path / "witness").glob("*.checkpoint")
        kept.write_bytes(b"")
        with pytest.raises(ConfigurationError, match="no checkpoint any more"):
            answered(witness, submission(40, 12))

    def test_nothing_of_an_empty_log(self, witness):
        """The empty tree can be cosigned; it is the beginning of every log."""
        assert submission(0).checkpoint.root == EMPTY_ROOT
        assert answered(witness, submission(0)).status == 200
        assert answered(witness, submission(3)).status == 200


def visiting(log, key):
    witness = {"witness_url": URL, "witness_key": key.render(), "witness_interval_s": 0.01}
    return settings_of(log, seal_interval_s=0.01, **witness)


def _answer_with(monkeypatch, answer):
    """Let every client of the visits talk to an answer of the test."""

    def serve(request):
        status, text = answer(request)
        return httpx.Response(status, text=text)

    made = httpx.Client
    monkeypatch.setattr(
        witness_visits.httpx, "Client", lambda **_: made(transport=httpx.MockTransport(serve))
    )


class TestALogAndItsWitness:
    @pytest.fixture
    def client(self, folder, log):
        witness = witness_of(folder, evidence(log).key)

        def serve(request):
            answer = witness.add_checkpoint(request.content)
            return httpx.Response(answer.status, text=answer.text)

        with httpx.Client(transport=httpx.MockTransport(serve)) as client:
            yield client

    async def test_it_is_asked_again_and_again(self, log, folder, client):
        """The log finds out where the witness stands; what comes back can be kept as a checkpoint."""
        key = folder.signer.cosigning_key
        for _ in range(3):
            note = ask_witness(evidence(log).seals, client, URL, key)
            assert signed_by(note, key)
            await (await open_node(settings_of(log))).close()
        kept = (note.render().encode(),)
        assert verify(msgspec.structs.replace(evidence(log), kept=kept)).intact

    async def test_a_roll_back_of_everything(self, log, folder, client, tmp_path):
        """Log, seals and key of yesterday look intact by themselves; the witness knows better."""
        key = folder.signer.cosigning_key
        (tmp_path / "yesterday").mkdir()
        old = copy_log(log, tmp_path / "yesterday")
        await (await open_node(settings_of(log))).close()
        ask_witness(evidence(log).seals, client, URL, key)
        assert verify(evidence(old)).intact
        with pytest.raises(WitnessRefusedError, match="rolled back"):
            ask_witness(evidence(old).seals, client, URL, key)

    def test_another_witness(self, log, client):
        """A cosignature of somebody else is none."""
        with pytest.raises(WitnessRefusedError, match="without a valid signature"):
            ask_witness(evidence(log).seals, client, URL, NoteSigner("w", bytes(32)).cosigning_key)

    @pytest.mark.parametrize(
        "answer", [(200, "nonsense"), (409, "x"), (409, "9" * 30), (500, "no"), (409, "0"), (409, "1000000")]
    )
    def test_a_witness_that_answers_nonsense(self, log, answer):
        """Nothing of it is believed."""
        transport = httpx.MockTransport(lambda _: httpx.Response(answer[0], text=answer[1]))
        key = NoteSigner("w", bytes(32)).cosigning_key
        with httpx.Client(transport=transport) as client, pytest.raises(WitnessRefusedError):
            ask_witness(evidence(log).seals, client, "http://witness", key)

    async def test_over_http(self, witness, folder):
        """The call answers as the protocol prescribes, tells its key, and reads no more than it must."""
        key = folder.signer.cosigning_key
        transport = httpx.ASGITransport(witness_app(witness, key))
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            assert (await client.get("/key")).text == key.render() + "\n"
            sent = submission(5).render().encode()
            assert (await client.post("/add-checkpoint", content=sent)).status_code == 200
            again = await client.post("/add-checkpoint", content=sent)
            told = (again.status_code, again.text, again.headers["content-type"])
            assert told == (409, "5\n", "text/x.tlog.size")
            endless = b"x" * (MOST_BODY_BYTES + 1)
            assert (await client.post("/add-checkpoint", content=endless)).status_code == 413

    async def test_a_server_visits_its_witness(self, log, folder, monkeypatch):
        """While it runs, what it sealed is cosigned, and the last cosigned checkpoint lies by the seals."""
        witness, key = witness_of(folder, evidence(log).key), folder.signer.cosigning_key
        _answer_with(monkeypatch, lambda request: witness.add_checkpoint(request.content))
        node = await open_node(visiting(log, key))
        cosigned = log.with_name("log.db.seals") / "cosigned"
        try:
            await eventually(cosigned.exists)
        finally:
            await node.close()
        note = parse_note(cosigned.read_bytes())
        assert signed_by(note, key)
        assert verify(msgspec.structs.replace(evidence(log), kept=(cosigned.read_bytes(),))).intact

    async def test_a_refusal_is_told_once(self, log, folder, monkeypatch, caplog):
        """The operator hears of it; requests go on."""
        visits = []

        def refuse(_request):
            visits.append(1)
            return Answer(422, "no")

        _answer_with(monkeypatch, refuse)
        node = await open_node(visiting(log, folder.signer.cosigning_key))
        try:
            await eventually(lambda: len(visits) >= 4)
            assert node.ready
        finally:
            await node.close()
        assert caplog.text.count("witness_visit_failed") == 1

    @pytest.mark.parametrize("half", [{"witness_url": URL}, {"witness_key": LOG.key.render()}])
    async def test_half_a_witness(self, log, half):
        """An address without a key would believe anybody."""
        with pytest.raises(ConfigurationError, match="belong together"):
            await open_node(settings_of(log, **half))
        await (await open_node(settings_of(log))).close()

    def test_the_processes(self, log, tmp_path):
        """`witness serve` and `witness ask` find each other."""
        program = [sys.executable, "-c", "from apikeyrouter.interfaces.cli.main import main; main()"]
        options = ["--name", "witness.example", "--folder", str(tmp_path / "w"), "--port", "0", "--json"]
        command = [*program, "witness", "serve", "--log-key", evidence(log).key.render(), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
            said = json.loads(serving.stdout.readline())
            command = [*program, "witness", "ask", said["url"], "--key", said["key"], "-d", str(log)]
            asked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            serving.terminate()
        assert asked.returncode == 0, asked.stderr
        assert "witness.example" in asked.stdout
