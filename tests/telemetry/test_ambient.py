"""Time and chance as they enter: ids that grow, seeds in range, clocks that tell microseconds."""

import itertools
import os
import threading
import time
import uuid

import pytest

from apikeyrouter.adapters import ambient
from apikeyrouter.adapters.ambient import SystemClock, SystemEntropy


class TestIds:
    def test_an_id_is_a_version_7_uuid_of_now(self):
        """32 hex digits; the first twelve are the milliseconds."""
        before_ms = time.time_ns() // 1_000_000
        made = SystemEntropy().new_id()
        after_ms = time.time_ns() // 1_000_000
        parsed = uuid.UUID(made)
        assert parsed.hex == made
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert before_ms <= int(made[:12], 16) <= after_ms

    def test_ids_grow_also_within_a_millisecond(self):
        """Sorting by id is sorting by birth."""
        entropy = SystemEntropy()
        ids = [entropy.new_id() for _ in range(20_000)]
        assert len({made[:12] for made in ids}) < len(ids)
        assert all(one < other for one, other in itertools.pairwise(ids))

    def test_ids_grow_while_the_wall_clock_steps_back(self, monkeypatch):
        """A corrected clock does not unsort the log."""
        entropy = SystemEntropy()
        clock_ms = [1_800_000_000_000]
        monkeypatch.setattr(ambient.time, "time_ns", lambda: clock_ms[0] * 1_000_000)
        ids = [entropy.new_id()]
        for step_ms in (-86_400_000, -1, 0, 5, 86_400_100):
            clock_ms[0] += step_ms
            ids.append(entropy.new_id())
        assert ids == sorted(ids)
        assert len(set(ids)) == len(ids)
        assert all(uuid.UUID(made).version == 7 for made in ids)

    def test_growing_past_the_last_tail_of_a_millisecond_goes_on_in_the_next(self, monkeypatch):
        """The counter runs over into the time, and version and variant stay."""
        entropy = SystemEntropy()
        monkeypatch.setattr(ambient.time, "time_ns", lambda: 1_000 * 1_000_000)
        entropy.new_id()
        entropy._latest |= (1 << 74) - 1
        made = uuid.UUID(entropy.new_id())
        assert made.int >> 80 == 1_001
        assert (made.version, made.variant) == (7, uuid.RFC_4122)

    def test_ids_of_two_sources_do_not_meet(self):
        """Two nodes that start in the same millisecond share nothing."""
        one, other = SystemEntropy(), SystemEntropy()
        assert not {one.new_id() for _ in range(5_000)} & {other.new_id() for _ in range(5_000)}

    def test_threads_that_share_a_source_never_get_the_same_id(self):
        """A draw is one step of an iterator, which no other thread can repeat."""
        entropy, drawn = SystemEntropy(), []
        barrier = threading.Barrier(4)

        def draw():
            barrier.wait()
            drawn.append([entropy.new_id() for _ in range(3_000)])

        threads = [threading.Thread(target=draw) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({made for ids in drawn for made in ids}) == 12_000

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
    def test_a_forked_child_does_not_repeat_its_parent(self):
        """What was drawn ahead stays with the parent."""
        entropy = SystemEntropy()
        entropy.new_id()
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write_end, f"{entropy.seed()} {entropy.seed()}".encode())
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            of_child = pipe.read().split()
        os.waitpid(child, 0)
        assert of_child != [str(entropy.seed()), str(entropy.seed())]


def test_seeds_are_exact_in_json_and_differ():
    """Every seed is an integer below two to the 53rd, and they use the whole range."""
    entropy = SystemEntropy()
    seeds = [entropy.seed() for _ in range(2_000)]
    assert all(0 <= seed < 2**53 for seed in seeds)
    assert len(set(seeds)) == len(seeds)
    assert max(seeds) > 2**52 > min(seeds)


def test_the_clocks_tell_microseconds():
    """The wall clock since the epoch; the other one never goes back."""
    clock = SystemClock()
    assert abs(clock.now_us() - time.time() * 1e6) < 60e6
    readings = [clock.elapsed_us() for _ in range(100)]
    assert readings == sorted(readings)


def test_nothing_drawn_ahead_is_shown():
    """The repr of the source holds no randomness."""
    assert repr(SystemEntropy()) == "SystemEntropy()"
