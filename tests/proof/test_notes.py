"""Signed notes, keys and checkpoints: read by the rules of C2SP, everything else is refused."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.proof.checkpoints import (
    Checkpoint,
    cosigned_message,
    parse_checkpoint,
    parse_timestamped,
    timestamped,
)
from apikeyrouter.domain.proof.leaves import MalformedRowError, leaf_bytes
from apikeyrouter.domain.proof.merkle import EMPTY_ROOT
from apikeyrouter.domain.proof.notes import (
    COSIGNATURE,
    ED25519,
    Note,
    NoteError,
    Signature,
    VerifierKey,
    parse_key,
    parse_note,
)
from apikeyrouter.limits import MOST_NOTE_BYTES, MOST_NOTE_SIGNATURES

GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann"
    " x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SPEC_NOTE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa"
    " Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1"
    " jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dl"
    "rDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
ROOT = base64.b64encode(b"r" * 32).decode()
LINE = f"— a {base64.b64encode(b'12345').decode()}\n"


class TestNotes:
    def test_a_note_of_the_go_implementation(self):
        """A note that Go's own library signed is read, and its signature verifies."""
        note, key = parse_note(GO_NOTE.encode()), parse_key(GO_KEY)
        (signature,) = note.signatures
        assert (signature.name, signature.key_id) == (key.name, key.key_id)
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature.signature, note.text.encode())
        assert note.render() == GO_NOTE
        assert key.render() == GO_KEY

    def test_the_example_of_the_specification(self):
        """A cosigned checkpoint, to the byte; the second signature bears its time."""
        note = parse_note(SPEC_NOTE.encode())
        checkpoint = parse_checkpoint(note.text)
        assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
        assert checkpoint.text() == note.text
        assert parse_timestamped(note.signatures[1].signature)[0] == 1679315147
        assert note.render() == SPEC_NOTE

    def test_text_with_empty_lines(self):
        """The last empty line parts text and signatures."""
        assert parse_note(f"a\n\nb\n\n{LINE}".encode()).text == "a\n\nb\n"

    @pytest.mark.parametrize(
        "hostile",
        [
            "",
            "\n",
            "text\n",
            "text\n\n",
            LINE,
            f"text\n{LINE}",
            f"text\n\n{LINE}"[:-1],
            f"text\n\n{LINE}\n",
            f"text\n\n{LINE}rest\n",
            f"text\n\n{LINE}trailing",
            f"text\r\n\r\n{LINE}",
            f"te\txt\n\n{LINE}",
            f"te\0xt\n\n{LINE}",
            f"text\n\n{LINE.replace('—', '-')}",
            f"text\n\n{LINE.replace('— ', '—')}",
            f"text\n\n{LINE.replace('— a ', '—  ')}",
            f"text\n\n{LINE.replace(' a ', ' a+b ')}",
            "text\n\n" + LINE.replace(" a ", " a\u00a0b "),
            f"text\n\n{LINE.replace(' a ', ' a  ')}",
            f"text\n\n— a {base64.b64encode(b'1234').decode()}\n",
            "text\n\n— a MTIzNDU\n",
            "text\n\n— a MTIzNDV=\n",
            "text\n\n— a MTIz*NDU=\n",
            "text\n\n— a MTIzNDU=ME\n",
            f"text\n\n{LINE * (MOST_NOTE_SIGNATURES + 1)}",
            f"{'x' * MOST_NOTE_BYTES}\n\n{LINE}",
        ],
    )
    def test_hostile_notes(self, hostile):
        """Whatever breaks one rule is refused."""
        with pytest.raises(NoteError):
            parse_note(hostile.encode())

    def test_not_utf8(self):
        """A note is text."""
        with pytest.raises(NoteError, match="UTF-8"):
            parse_note(b"\xff\n\n" + LINE.encode())

    def test_many_signatures(self):
        """Sixteen signatures are accepted at least."""
        assert len(parse_note(f"text\n\n{LINE * 16}".encode()).signatures) == 16

    @given(st.binary(max_size=200))
    def test_garbage(self, garbage):
        """Anything is either a note, which renders to the same bytes, or refused."""
        try:
            note = parse_note(garbage)
        except NoteError:
            return
        assert note.render().encode() == garbage

    @given(
        st.text(st.characters(min_codepoint=32, codec="utf-8")),
        st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=4),
    )
    def test_there_and_back(self, text, blobs):
        """What is rendered is read again."""
        note = Note(f"{text}\n", tuple(Signature("log/1", b"abcd", blob) for blob in blobs))
        assert parse_note(note.render().encode()) == note


class TestKeys:
    @pytest.mark.parametrize("algorithm", [ED25519, COSIGNATURE])
    def test_there_and_back(self, algorithm):
        """A key is its line; what it signs is part of its id."""
        key = VerifierKey("apikeyrouter/log", algorithm, b"k" * 32)
        assert parse_key(key.render()) == key

    @pytest.mark.parametrize(
        "hostile",
        [
            "",
            "PeterNeumann",
            "PeterNeumann+c74f20a3",
            GO_KEY.replace("c74f20a3", "c74f20a4"),
            GO_KEY.replace("c74f20a3", "C74F20A3"),
            GO_KEY.replace("PeterNeumann", ""),
            GO_KEY.replace("PeterNeumann", "Peter Neumann"),
            GO_KEY[:-4],
            VerifierKey("a", 2, b"k" * 32).render(),
            VerifierKey("a", ED25519, b"k" * 33).render(),
            VerifierKey("a", ED25519, b"").render(),
            f"a+{'0' * 8}+",
        ],
    )
    def test_hostile_keys(self, hostile):
        """A key whose id does not fit, or of a kind that nobody knows, is refused."""
        with pytest.raises(NoteError):
            parse_key(hostile)


class TestCheckpoints:
    def test_extension_lines(self):
        """Other logs may say more; it is signed, and it is not ours to judge."""
        assert parse_checkpoint(f"o\n1\n{ROOT}\nmore\n") == Checkpoint("o", 1, b"r" * 32)

    @pytest.mark.parametrize(
        "hostile",
        [
            "",
            "o\n",
            "o\n1\n",
            f"o\n1\n{ROOT}",
            f"\n1\n{ROOT}\n",
            f"o\n\n1\n{ROOT}\n",
            f"o\n1\n{ROOT}\n\n",
            f"o\n1\n{ROOT}\nmore\n\nmore\n",
            f"o\n01\n{ROOT}\n",
            f"o\n+1\n{ROOT}\n",
            f"o\n-1\n{ROOT}\n",
            f"o\n 1\n{ROOT}\n",
            f"o\n1 \n{ROOT}\n",
            f"o\n1_0\n{ROOT}\n",
            f"o\n٣\n{ROOT}\n",
            f"o\n1e3\n{ROOT}\n",
            f"o\n0x1\n{ROOT}\n",
            f"o\n{2**63}\n{ROOT}\n",
            f"o\n{'9' * 40}\n{ROOT}\n",
            f"o\n1\n{ROOT[:-1]}\n",
            f"o\n1\n{ROOT} \n",
            f"o\n1\n{base64.b64encode(b'r' * 31).decode()}\n",
            f"o\n1\n{base64.b64encode(b'r' * 33).decode()}\n",
            f"o\n0\n{ROOT}\n",
        ],
    )
    def test_hostile_checkpoints(self, hostile):
        """Whatever breaks one rule is refused."""
        with pytest.raises(NoteError):
            parse_checkpoint(hostile)

    def test_the_empty_tree(self):
        """Size 0 goes with the hash of nothing."""
        empty = Checkpoint("o", 0, EMPTY_ROOT)
        assert parse_checkpoint(empty.text()) == empty

    def test_the_message_of_a_cosignature(self):
        """The header, the time, and the whole text."""
        text = Checkpoint("o", 1, b"r" * 32).text()
        assert cosigned_message(text, 1679315147) == f"cosignature/v1\ntime 1679315147\n{text}".encode()
        assert parse_timestamped(timestamped(5, b"sig")) == (5, b"sig")

    @pytest.mark.parametrize("hostile", [b"", b"\0" * 8, b"\xff" * 9])
    def test_hostile_times(self, hostile):
        """A cosignature has a time below 2**63, and something behind it."""
        with pytest.raises(NoteError):
            parse_timestamped(hostile)


class TestLeaves:
    def test_the_bytes(self):
        """The format is fixed: a change would make every earlier checkpoint untrue."""
        assert leaf_bytes(1, "log", 2, "node.started.v1", b"{}").hex() == (
            "01"
            "0000000000000001"
            "0000000000000002"
            "00000003"
            "0000000f"
            "00000002"
            "6c6f67"
            "6e6f64652e737461727465642e7631"
            "7b7d"
        )

    ROWS = st.tuples(
        st.integers(0, 2**63 - 1),
        st.text(max_size=5),
        st.integers(0, 2**63 - 1),
        st.text(max_size=5),
        st.binary(max_size=5),
    )

    @given(ROWS, ROWS)
    def test_no_two_rows_share_a_leaf(self, one, other):
        """Wherever a text ends and the next begins is told."""
        assert (leaf_bytes(*one) == leaf_bytes(*other)) == (one == other)

    def test_moved_letters(self):
        """A letter that moves from one column to the next makes another leaf."""
        assert leaf_bytes(1, "ab", 1, "c", b"") != leaf_bytes(1, "a", 1, "bc", b"")

    @pytest.mark.parametrize(
        "row",
        [
            (-1, "s", 1, "n", b""),
            (1, b"s", 1, "n", b""),
            (1, "s", "1", "n", b""),
            (1, "s", 1.0, "n", b""),
            (1, "s", None, "n", b""),
            (1, "s", 2**64, "n", b""),
            (1, "s", 1, b"n", b""),
            (1, "s", 1, "n", "{}"),
            (1, "s", 1, "n", None),
            (1, "s", 1, "n", 5),
            (1, "\udc80", 1, "n", b""),
        ],
    )
    def test_rows_that_were_never_written(self, row):
        """A column of another type is no column of ours, also where it looks the same."""
        with pytest.raises(MalformedRowError):
            leaf_bytes(*row)
