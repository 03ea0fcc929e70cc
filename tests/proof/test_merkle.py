"""The tree: its roots and proofs are those of the RFC, and no other proof holds."""

from itertools import pairwise

import naive_tree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_logs import root_of

from apikeyrouter.domain.proof.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
)
from apikeyrouter.domain.proof.pruned_tree import Branch, prune

MOST = 70
ENTRIES = [f"entry {number}".encode() for number in range(MOST)]
HASHES = [leaf_hash(entry) for entry in ENTRIES]
CT_ENTRIES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = range(MOST + 1)


def subtree(first, after):
    return root_of(HASHES[first:after])


def root(size):
    return subtree(0, size)


class TestRoots:
    def test_known_answers(self):
        """The roots of certificate transparency's own test entries."""
        frontier = Frontier()
        for entry, expected in zip(CT_ENTRIES, CT_ROOTS, strict=True):
            frontier.append(leaf_hash(bytes.fromhex(entry)))
            assert frontier.root().hex() == expected

    def test_every_size(self):
        """Growing leaf by leaf gives the root that the definition gives, at every size."""
        frontier = Frontier()
        assert frontier.root() == naive_tree.mth([]) == EMPTY_ROOT
        for size, leaf in enumerate(HASHES, 1):
            frontier.append(leaf)
            assert frontier.root() == naive_tree.mth(ENTRIES[:size])
            assert frontier.size == size

    @given(st.integers(0, 5), st.integers(0, MOST), st.data())
    def test_whole_subtrees(self, level, size, data):
        """Subtrees may be added by their roots, and single leaves behind them."""
        whole = data.draw(st.integers(0, size >> level))
        frontier = Frontier()
        for number in range(whole):
            frontier.append_subtree(level, subtree(number << level, (number + 1) << level))
        frontier.extend(HASHES[whole << level : size])
        assert (frontier.size, frontier.root()) == (size, root(size))

    def test_a_subtree_out_of_place(self):
        """A subtree begins only where one of its size can."""
        frontier = Frontier()
        frontier.append(HASHES[0])
        with pytest.raises(ValueError, match="begins at place 1"):
            frontier.append_subtree(1, HASHES[1])


class TestInclusion:
    def test_every_leaf_of_every_size(self):
        """Each proof is the RFC's, and holds."""
        for size in SIZES[1:]:
            for place in range(size):
                proof = inclusion_proof(subtree, place, size)
                assert proof == naive_tree.path(place, ENTRIES[:size])
                assert inclusion_holds(HASHES[place], place, size, proof, root(size))

    @settings(max_examples=400)
    @given(st.data())
    def test_it_agrees_with_the_definition(self, data):
        """Whatever is claimed holds only if the definition leads to the same root."""
        size = data.draw(st.integers(1, 33))
        place = data.draw(st.integers(0, size - 1))
        proof = inclusion_proof(subtree, place, size)
        claimed_size = data.draw(st.integers(1, 36))
        claimed_place = data.draw(st.integers(0, 36))
        claimed_leaf = HASHES[data.draw(st.integers(0, 36))]
        proof = _edited(data, proof)
        holds = inclusion_holds(claimed_leaf, claimed_place, claimed_size, proof, root(size))
        in_tree = claimed_place < claimed_size
        assert holds == (
            in_tree and naive_tree.climb(claimed_leaf, claimed_place, claimed_size, proof) == root(size)
        )

    @pytest.mark.parametrize(("place", "size"), [(0, 0), (1, 1), (-1, 4), (4, 4)])
    def test_no_such_place(self, place, size):
        """There is no proof of what is not in the tree."""
        with pytest.raises(ValueError, match="has no place"):
            inclusion_proof(subtree, place, size)
        assert not inclusion_holds(HASHES[0], place, size, [], HASHES[0])


class TestConsistency:
    def test_every_pair_of_sizes(self):
        """Each proof is the RFC's, and holds."""
        for size in SIZES:
            for old_size in range(size + 1):
                proof = consistency_proof(subtree, old_size, size)
                if old_size:
                    assert proof == naive_tree.proof(old_size, ENTRIES[:size])
                assert consistency_holds(old_size, size, proof, root(old_size), root(size))

    def test_another_history(self):
        """A tree with another leaf anywhere is consistent with no earlier one that held the leaf."""
        size = 21
        for changed in range(size):
            forged = [*HASHES[:changed], leaf_hash(b"forged"), *HASHES[changed + 1 : size]]
            for old_size in range(changed + 1, size + 1):
                proof = consistency_proof(
                    lambda first, after, of=forged: root_of(of[first:after]), old_size, size
                )
                assert not consistency_holds(old_size, size, proof, root(old_size), root_of(forged))

    @given(st.data())
    def test_edited_proofs(self, data):
        """A proof that was changed, cut or lengthened holds for nothing, except where it is the same."""
        size = data.draw(st.integers(2, 40))
        old_size = data.draw(st.integers(1, size - 1))
        proof = consistency_proof(subtree, old_size, size)
        edited = _edited(data, proof)
        holds = consistency_holds(old_size, size, edited, root(old_size), root(size))
        assert holds == (edited == proof)

    def test_sizes_that_make_no_sense(self):
        """An old tree is not larger than the new one, and nothing is smaller than nothing."""
        for old_size, size in [(3, 2), (-1, 2)]:
            with pytest.raises(ValueError, match="no beginning"):
                consistency_proof(subtree, old_size, size)
            assert not consistency_holds(old_size, size, [], HASHES[0], HASHES[0])

    def test_empty_and_same(self):
        """The empty tree is the beginning of every one, and a tree of itself; neither takes a proof."""
        assert consistency_holds(0, 5, [], EMPTY_ROOT, root(5))
        assert not consistency_holds(0, 5, [HASHES[0]], EMPTY_ROOT, root(5))
        assert not consistency_holds(0, 5, [], HASHES[0], root(5))
        assert not consistency_holds(5, 5, [], root(4), root(5))
        assert not consistency_holds(4, 5, [], root(4), root(4))
        assert not consistency_holds(3, 5, [], root(3), root(5))


class TestPrunedTree:
    @given(st.integers(1, MOST), st.data())
    def test_the_root_comes_back(self, size, data):
        """The leaves and the roots of what was cut make the root; and only branches without them were cut."""
        places = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
        branches = prune(subtree, places, size)
        assert _rebuilt(branches, places, 0, size) == root(size)
        covered = [*places, *(place for b in branches for place in range(b.first, b.after))]
        assert sorted(covered) == list(range(size))

    def test_neighbours_are_cheap(self):
        """Leaves side by side cost no more than two paths."""
        assert len(prune(subtree, range(10, 50), 70)) <= 2 * 7

    @pytest.mark.parametrize("places", [[], [-1], [5]])
    def test_no_such_places(self, places):
        """Leaves that are not there cannot be kept."""
        with pytest.raises(ValueError, match="places of a tree"):
            prune(subtree, places, 5)


def _rebuilt(branches, places, first, after):
    known = {(branch.first, branch.after): branch.root for branch in branches}
    if (first, after) in known:
        return known[first, after]
    if after - first == 1:
        assert first in places
        return HASHES[first]
    middle = first + naive_tree.split(after - first)
    left, right = _rebuilt(branches, places, first, middle), _rebuilt(branches, places, middle, after)
    return naive_tree.hashlib.sha256(b"\1" + left + right).digest()


def _edited(data, proof):
    """Leave a proof as it is, or change it in one of the ways in which proofs are forged."""
    kind = data.draw(st.sampled_from(["same", "drop", "add", "swap", "flip"]))
    place = data.draw(st.integers(0, max(0, len(proof) - 1)))
    match kind:
        case "drop" if proof:
            return proof[:place] + proof[place + 1 :]
        case "add":
            return [*proof[:place], HASHES[data.draw(st.integers(0, 40))], *proof[place:]]
        case "swap" if len(proof) > 1:
            return proof[::-1]
        case "flip" if proof:
            return [*proof[:place], leaf_hash(proof[place]), *proof[place + 1 :]]
    return proof


def test_a_branch_says_what_it_covers():
    """Branches come from left to right, without overlaps."""
    branches = prune(subtree, [3, 40], 64)
    assert all(one.after <= other.first for one, other in pairwise(branches))
    assert branches[0] == Branch(0, 2, root(2))
