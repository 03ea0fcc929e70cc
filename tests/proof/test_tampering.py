"""Whatever is done to stored events is found, and the first position that was touched is named."""

from itertools import combinations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_logs import RowsInMemory

from apikeyrouter.application.proof.differences import Differences
from apikeyrouter.application.proof.findings import Trouble
from apikeyrouter.application.proof.verification import verify
from apikeyrouter.domain.proof.leaves import StoredRow

PAIRS_AMONG = 90


def judged(sealed, rows, **extent):
    return verify(msgspec.structs.replace(sealed, rows=RowsInMemory(rows, **extent)))


def found(sealed, rows):
    """Return the first bad position and what was found there."""
    verdict = judged(sealed, rows)
    assert not verdict.intact
    first = verdict.findings[0]
    return first.position, first.trouble


def compared(sealed, rows, count):
    differences = Differences(count, sealed.seals.hashes)
    differences.feed(rows)
    return min(differences.findings(), key=lambda finding: finding.position)


def moved(row, position):
    return StoredRow(position, *row[1:])


class TestWhatIsFound:
    def test_nothing_in_an_intact_log(self, sealed, rows):
        """All events are covered by checkpoints, and nothing is complained about."""
        verdict = judged(sealed, rows)
        assert verdict.intact
        assert verdict.first_bad is None
        assert verdict.events == verdict.sealed == len(rows) > 250
        assert verdict.unsealed == 0
        assert verdict.checkpoints >= 3

    def test_every_byte_of_every_event(self, sealed, rows):
        """Not one byte of a state can change without its position being named."""
        count = len(rows)
        for row in rows:
            state = bytearray(row.state)
            for at in range(len(state)):
                state[at] ^= 1
                differences = Differences(count, sealed.seals.hashes, first=row.position)
                differences.feed([row._replace(state=bytes(state))])
                assert differences.different == 1, (row.position, at)
                state[at] ^= 1

    def test_every_letter_of_every_column(self, sealed, rows):
        """The same for stream, name, version: what an event is and where it stands is sealed with it."""
        for row in rows:
            forged = [row._replace(version=row.version + 1), row._replace(version=-1)]
            forged += [row._replace(stream=_flipped(row.stream, at)) for at in range(len(row.stream))]
            forged += [row._replace(name=_flipped(row.name, at)) for at in range(len(row.name))]
            forged += [row._replace(state=row.state.decode()), row._replace(name=row.name.encode())]
            for forgery in forged:
                differences = Differences(len(rows), sealed.seals.hashes, first=row.position)
                differences.feed([forgery])
                assert differences.different == 1, (row.position, forgery[:4])

    def test_a_change_of_each_event_is_named(self, sealed, rows):
        """The whole verification names the position, and nothing else."""
        for at, row in enumerate(rows):
            changed = row._replace(state=row.state[:-2] + b" }")
            verdict = judged(sealed, [*rows[:at], changed, *rows[at + 1 :]])
            assert [(one.position, one.trouble) for one in verdict.findings] == [
                (row.position, Trouble.Changed)
            ]

    def test_every_swap(self, sealed, rows):
        """Any two events that change places are found, and each is told where it came from."""
        few = rows[:PAIRS_AMONG]
        for i, j in combinations(range(len(few)), 2):
            forged = list(few)
            forged[i], forged[j] = moved(few[j], i + 1), moved(few[i], j + 1)
            first = compared(sealed, forged, len(few))
            assert (first.position, first.trouble) == (i + 1, Trouble.Swapped)
            assert f"position {j + 1}" in first.detail

    def test_every_deletion(self, sealed, rows):
        """A missing event leaves a gap, which is named."""
        for at in range(len(rows) - 1):
            assert found(sealed, [*rows[:at], *rows[at + 1 :]]) == (at + 1, Trouble.Deleted)

    def test_deletions_that_close_the_gap(self, sealed, rows):
        """Moving up what follows does not hide where an event is missing."""
        for at in [*range(0, len(rows) - 1, 6), len(rows) - 2]:
            behind = [moved(row, row.position - 1) for row in rows[at + 1 :]]
            assert found(sealed, [*rows[:at], *behind]) == (at + 1, Trouble.Deleted)

    def test_insertions(self, sealed, rows):
        """An event that was put in, with what follows moved down, is named."""
        for at in [*range(0, len(rows), 6), len(rows) - 1]:
            put = StoredRow(at + 1, "key-forged", 1, "key.revoked.v1", b'{"at_us":1}')
            behind = [moved(row, row.position + 1) for row in rows[at:]]
            trouble = Trouble.Inserted if behind[1:] else Trouble.Changed
            assert found(sealed, [*rows[:at], put, *behind]) == (at + 1, trouble)

    @pytest.mark.parametrize("position", [0, -1, -(2**63)])
    def test_an_event_before_the_first(self, sealed, rows, position):
        """Where no position of ours can be, nothing can hide either."""
        put = StoredRow(position, "key-forged", 1, "key.revoked.v1", b"{}")
        assert found(sealed, [put, *rows]) == (position, Trouble.Inserted)

    def test_every_tail_cut(self, sealed, rows):
        """A log that ends too soon: the first missing position is named, and that its counter knows more."""
        for length in range(len(rows)):
            verdict = judged(sealed, rows[:length], last_ever=len(rows))
            assert (verdict.first_bad, verdict.findings[0].trouble) == (length + 1, Trouble.Truncated)

    def test_every_older_file(self, sealed, rows):
        """The same of an older file, whose counter fits."""
        for length in range(len(rows)):
            assert found(sealed, rows[:length]) == (length + 1, Trouble.RolledBack)

    def test_an_older_file_that_went_on(self, sealed, rows):
        """Rolling back and writing on differently is found where the histories part."""
        for length in range(1, len(rows), 7):
            other = [moved(rows[0], position) for position in range(length + 1, len(rows) + 1)]
            position, _ = found(sealed, [*rows[:length], *other])
            assert position == length + 1

    def test_an_event_behind_a_closed_log(self, sealed, rows):
        """What was written after the log was closed in good order was not written by a node."""
        put = StoredRow(len(rows) + 1, "key-forged", 1, "key.revoked.v1", b"{}")
        assert found(sealed, [*rows, put]) == (len(rows) + 1, Trouble.Appended)

    def test_a_huge_gap(self, sealed, rows):
        """A position out of all proportion costs neither time nor memory."""
        far = moved(rows[-1], 2**62)
        position, trouble = found(sealed, [*rows[:-1], far])
        assert (position, trouble) == (len(rows), Trouble.Deleted)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_anything_at_all(self, sealed, rows, data):
        """Any other list of rows is found out at the first position where it is another."""
        forged = list(rows)
        for _ in range(data.draw(st.integers(1, 4))):
            i, j = (data.draw(st.integers(0, len(forged) - 1)) for _ in range(2))
            match data.draw(st.sampled_from(["drop", "double", "swap", "renumber"])):
                case "drop":
                    forged.pop(i)
                case "double":
                    forged.insert(i, forged[j])
                case "swap":
                    forged[i], forged[j] = forged[j], forged[i]
                case "renumber":
                    forged[i] = forged[i]._replace(version=forged[i].version + 1)
        forged = [moved(row, position) for position, row in enumerate(forged, 1)]
        if forged == rows:
            return
        first = next(
            (at for at, (old, new) in enumerate(zip(rows, forged, strict=False), 1) if old != new),
            min(len(rows), len(forged)) + 1,
        )
        assert found(sealed, forged)[0] == first


def _flipped(text, at):
    return text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
