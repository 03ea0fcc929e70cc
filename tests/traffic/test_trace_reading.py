"""Traces are read exactly, and what cannot be read is named with its line."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.errors import InvalidRequestError
from apikeyrouter.interfaces.traffic import Arrival, read_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = "2023-11-16 18:15:46.6805900,374,44\n"
AT_US = 1_700_158_546_680_590


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("traces") / "trace.csv"


def read(file, content: str | bytes) -> list[Arrival]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_trace(file))


class TestWhatIsRead:
    def test_seven_digits(self, file):
        """A time with seven digits is read to the microsecond."""
        assert read(file, HEADER + ROW) == [Arrival(AT_US, 374, 44)]

    @pytest.mark.parametrize(
        "timestamp",
        [
            "2023-11-16T18:15:46.68059",
            "2023-11-16 18:15:46.680590+00:00",
            "2023-11-16 18:15:46.680590999Z",
            "2023-11-16 20:45:46.680590+02:30",
        ],
    )
    def test_other_ways_to_write_a_time(self, file, timestamp):
        """Offsets are heeded, and what is finer than a microsecond is cut off."""
        assert read(file, f"{HEADER}{timestamp},374,44\n") == [Arrival(AT_US, 374, 44)]

    @pytest.mark.parametrize(
        "content",
        [
            "\ufeff" + HEADER + ROW,
            (HEADER + ROW).replace("\n", "\r\n"),
            HEADER + ROW.strip(),
            HEADER + "\n" + ROW + "\n",
            HEADER + '"2023-11-16 18:15:46.6805900", 374 ,"44"\n',
            "Region,GeneratedTokens,TIMESTAMP,ContextTokens\nwest,44,2023-11-16 18:15:46.6805900,374\n",
        ],
    )
    def test_other_ways_to_write_the_file(self, file, content):
        """Marks, line ends, blank lines, quotes and other columns change nothing."""
        assert read(file, content) == [Arrival(AT_US, 374, 44)]

    def test_order_is_the_files(self, file):
        """Arrivals come in the order of the file."""
        rows = "2023-11-16 18:15:47,1,1\n2023-11-16 18:15:46,2,2\n"
        assert [arrival.input_tokens for arrival in read(file, HEADER + rows)] == [1, 2]

    def test_it_is_read_as_it_is_needed(self, file):
        """What stands before a wrong line has been yielded when the error is raised."""
        file.write_text(HEADER + ROW + "no,1,1\n")
        arrivals = read_trace(str(file))
        assert next(arrivals) == Arrival(AT_US, 374, 44)
        with pytest.raises(InvalidRequestError):
            next(arrivals)

    @given(
        at=st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)),  # noqa: DTZ001 - written without offset
        digits=st.integers(6, 9),
        sizes=st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)),
    )
    def test_what_is_written_is_read(self, file, at, digits, sizes):
        """Any time and any sizes come back exactly."""
        fraction = f"{at.microsecond:06d}".ljust(digits, "7")
        row = f"{at:%Y-%m-%d %H:%M:%S}".rjust(19, "0") + f".{fraction},{sizes[0]},{sizes[1]}\n"
        since = at.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        assert read(file, HEADER + row) == [Arrival(since // timedelta(microseconds=1), *sizes)]


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "line 1: the header lacks TIMESTAMP"),
            ("TIMESTAMP,ContextTokens\n", "line 1: the header lacks GeneratedTokens"),
            (HEADER + ROW + "2023-11-16 18:15:46,1\n", "line 3: 2 fields are too few"),
            (HEADER + "yesterday,1,1\n", "line 2: TIMESTAMP 'yesterday' is not like"),
            (HEADER + "2023-13-16 18:15:46,1,1\n", "line 2: TIMESTAMP '2023-13-16 18:15:46' is not a time"),
            (HEADER + "2023-11-16 18:15:46+99:00,1,1\n", "line 2: TIMESTAMP"),
            (HEADER + "2023-11-16 18:15:46.1234567890,1,1\n", "line 2: TIMESTAMP"),
            (HEADER + "2023-11-16 18:15:46,-1,1\n", "line 2: ContextTokens '-1'"),
            (HEADER + "2023-11-16 18:15:46,1,1.5\n", "line 2: GeneratedTokens '1.5'"),
            (HEADER + "2023-11-16 18:15:46,1,1_0\n", "line 2: GeneratedTokens '1_0'"),
            (HEADER + "2023-11-16 18:15:46,1,\u0661\n", "line 2: GeneratedTokens"),
            (HEADER + "2023-11-16 18:15:46,1,9999999999\n", "line 2: GeneratedTokens '9999999999'"),
            (HEADER + "2023-11-16 18:15:46,1," + "9" * 5000 + "\n", "line 2: GeneratedTokens"),
            (HEADER + ROW + "x" * 20_000, "longer than 10000"),
            (b"\xff\xfe" + HEADER.encode("utf-16-le"), "not UTF-8"),
            (HEADER.encode() + b"2023-11-16 18:15:46,\xff,1\n", "not UTF-8"),
        ],
    )
    def test_it_is_named_with_its_line(self, file, content, message):
        """The error tells the file, the line and what is wrong with it, and is not endless."""
        with pytest.raises(InvalidRequestError) as caught:
            read(file, content)
        assert message in caught.value.message
        assert "trace.csv" in caught.value.message
        assert len(caught.value.message) < 400

    def test_a_file_that_is_not_there(self, tmp_path):
        """A missing file is named."""
        with pytest.raises(InvalidRequestError, match=r"nowhere\.csv"):
            list(read_trace(tmp_path / "nowhere.csv"))

    @given(st.one_of(st.binary(max_size=300), st.text(alphabet='0123456789-:., T"\n\r\x00Z+', max_size=120)))
    def test_garbage_is_refused_in_words(self, file, garbage):
        """Any bytes after the header are arrivals or a classified error."""
        rest = garbage if isinstance(garbage, bytes) else garbage.encode()
        with contextlib.suppress(InvalidRequestError):
            assert all(isinstance(arrival, Arrival) for arrival in read(file, HEADER.encode() + rest))
