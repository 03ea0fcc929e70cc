"""What may be declared of a key's limits, and which accounts come of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeyrouter.domain.events import KeyRegistered, QuotaLimitLearned, canonical_bytes
from apikeyrouter.domain.key_metadata import MOST_ENTRIES, check_metadata, declaration
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.domain.quota_limits import LIMIT_NAMES, Dimension, agreed, learned_limit, limits_of
from apikeyrouter.domain.windows import Window


def declared(**metadata):
    """Return the limits of a key by their accounts, declared the way an administrator would."""
    return {limit.account_id: limit for limit in limits_of("openai", "k1", check_metadata(metadata))}


def only(**metadata):
    (limit,) = declared(**metadata).values()
    return limit


@pytest.mark.parametrize(
    ("name", "account", "window"),
    [
        ("rps", "key-k1/requests/second", Window("rolling", "second")),
        ("rpm", "key-k1/requests/minute", Window("rolling", "minute")),
        ("rph", "key-k1/requests/hour", Window("rolling", "hour")),
        ("rpd", "key-k1/requests/day", Window("fixed", "day")),
        ("rpmonth", "key-k1/requests/month", Window("fixed", "month")),
        ("tps", "key-k1/tokens/second", Window("rolling", "second")),
        ("tpm", "key-k1/tokens/minute", Window("rolling", "minute")),
        ("tph", "key-k1/tokens/hour", Window("rolling", "hour")),
        ("tpd", "key-k1/tokens/day", Window("fixed", "day")),
        ("tpmonth", "key-k1/tokens/month", Window("fixed", "month")),
        ("itpm", "key-k1/input_tokens/minute", Window("rolling", "minute")),
        ("otpd", "key-k1/output_tokens/day", Window("fixed", "day")),
    ],
)
def test_each_name_declares_one_account(name, account, window):
    """Short windows roll, days and months end at midnight, and the account is named readably."""
    limit = only(**{name: 7})
    assert (limit.account_id, limit.window, limit.amount) == (account, window, 7)
    assert limit.models is None
    assert limit.covers("whatever")
    assert limit.of_tokens == (limit.dimension is not Dimension.Requests)


def test_a_limit_may_hold_for_one_model_or_for_several_that_share_it():
    """`rpm:MODEL` bounds one model; models joined by a bar share an account, in whatever order."""
    limits = declared(**{"rpm:gpt-4o": 500, "tpm:gpt-4o|gpt-4o-mini": 30000, "rpd:meta/llama:free": 9})
    assert limits["key-k1/requests/minute/gpt-4o"].models == ("gpt-4o",)
    shared = limits["key-k1/tokens/minute/gpt-4o|gpt-4o-mini"]
    assert shared.covers("gpt-4o-mini")
    assert not shared.covers("o3")
    assert limits["key-k1/requests/day/meta/llama:free"].covers("meta/llama:free")
    assert only(**{"tpm:gpt-4o-mini|gpt-4o": 30000}) == shared


def test_nested_limits_are_flat_entries():
    """A mapping of models to limits says the same as entries with the model in their name."""
    nested = check_metadata({"label": "x", "limits": {"gpt-4o": {"rpm": 500, "tpd": 9}, "a|b": {"tpm": 1}}})
    assert nested == {"label": "x", "rpm:gpt-4o": 500, "tpd:gpt-4o": 9, "tpm:a|b": 1}
    canonical_bytes(KeyRegistered(at_us=1, actor="t", provider_id="p", fingerprint="f", metadata=nested))


def test_zone_and_kind_of_the_windows_can_be_declared():
    """Days end at the provider's midnight, or roll where it counts that way; rolling ones need no zone."""
    assert only(rpd=1, quota_timezone="America/Los_Angeles").window == Window(
        "fixed", "day", "America/Los_Angeles"
    )
    zone = "America/Los_Angeles"
    assert only(rpd=1, quota_window="rolling", quota_timezone=zone).window == Window("rolling", "day")
    assert only(rpm=1, quota_window="fixed").window == Window("fixed", "minute")
    assert only(rpm=1, quota_timezone=zone).window == Window("rolling", "minute")


def test_keys_of_a_group_share_their_accounts():
    """Two keys of a group at one provider draw on one account; at another provider it is another."""
    accounts = {
        limit.account_id
        for provider, key in (("openai", "k1"), ("openai", "k2"), ("azure", "k3"))
        for limit in limits_of(provider, key, check_metadata({"quota_group": "org-1", "tpm:m": 5}))
    }
    assert accounts == {"group-openai:org-1/tokens/minute/m", "group-azure:org-1/tokens/minute/m"}


def test_of_several_declarations_of_a_shared_account_the_smallest_holds():
    """Whoever came first, the smallest amount holds; between equals the rolling window, which is stricter."""
    group = {"quota_group": "g"}
    amounts = [limits_of("p", "k", {**group, "rpm": amount})[0] for amount in (30, 10, 20)]
    assert agreed(amounts).amount == agreed(reversed(amounts)).amount == 10
    fixed, rolling = (
        limits_of("p", "k", {**group, "rpm": 10, "quota_window": kind})[0] for kind in ("fixed", "rolling")
    )
    assert agreed([fixed, rolling]) == agreed([rolling, fixed]) == rolling


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("rpm", 1.5, "whole number"),
        ("rpm", -1, "whole number"),
        ("rpm", True, "whole number"),
        ("rpm", False, "whole number"),
        ("rpm", "500", "whole number"),
        ("rpm", None, "whole number"),
        ("rpm", [1], "whole number"),
        ("rpm", float("nan"), "whole number"),
        ("rpm", float("inf"), "whole number"),
        ("tpmonth", 2**53 + 1, "whole number"),
        ("rpm", 0, "above zero"),
        ("rpm:gpt-4o", 0.0, "above zero"),
        ("max_concurrency", 0, "above zero"),
        ("max_concurrency", 1.5, "whole number"),
        ("max_concurrency:gpt-4o", 1, "whole key"),
        ("RPM", 5, "write rpm"),
        ("Tpm:gpt-4o", 5, "write tpm"),
        ("rpm:", 5, "names no model"),
        ("rpm:a||b", 5, "names no model"),
        ("rpm: a", 5, "names no model"),
        ("quota_timezone", "Mars/Olympus", "time zone"),
        ("quota_timezone", 3, "must be a text"),
        ("quota_window", "sliding", "rolling, fixed or bucket"),
        ("quota_group", "", "short printable"),
        ("quota_group", "a/b", "short printable"),
        ("quota_group", " a", "short printable"),
        ("limits", [], "must map models"),
        ("limits", 5, "must map models"),
    ],
)
def test_what_is_no_limit_is_refused_by_its_name(entry, value, message):
    """A limit that cannot be kept as it is written is refused, and the message names the entry."""
    with pytest.raises(InvalidRequestError, match=message) as refused:
        check_metadata({entry: value})
    assert f"metadata.{entry}" in refused.value.message
    assert refused.value.param == f"metadata.{entry}"


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"gpt-4o": 5}, "limits.gpt-4o"),
        ({"gpt-4o": {"rpx": 5}}, "limits.gpt-4o.rpx"),
        ({"gpt-4o": {"max_concurrency": 5}}, "limits.gpt-4o.max_concurrency"),
        ({"gpt-4o": {"rpm": 0}}, "metadata.rpm:gpt-4o"),
        ({"": {"rpm": 5}}, "metadata.rpm:"),
        ({7: {"rpm": 5}}, "limits.7"),
        ({"gpt-4o": {7: 5}}, "limits.gpt-4o.7"),
    ],
)
def test_what_is_no_nested_limit_is_refused_by_its_place(limits, named):
    """A nested limit is checked like a flat one, and the message says where it stands."""
    with pytest.raises(InvalidRequestError) as refused:
        check_metadata({"limits": limits})
    assert named in refused.value.message


@pytest.mark.parametrize(
    "metadata",
    [
        {"rpm:a|b": 1, "rpm:b|a": 1},
        {"rpm:a": 1, "rpm:a|a": 1},
        {"rpm:a": 1, "limits": {"a": {"rpm": 1}}},
    ],
)
def test_a_limit_that_is_declared_twice_is_refused(metadata):
    """Which of the two was meant is not guessed."""
    with pytest.raises(InvalidRequestError, match="declared twice"):
        check_metadata(metadata)


def test_entries_are_counted_after_they_were_flattened():
    """Nesting is no way around the bound on entries."""
    with pytest.raises(InvalidRequestError, match="entries"):
        check_metadata({"limits": {f"m{number}": {"rpm": 1} for number in range(MOST_ENTRIES + 1)}})


def test_whole_floats_become_integers_and_the_largest_amount_is_kept():
    """500.0 is 500; up to 2^53 every amount is kept as it is."""
    checked = check_metadata({"rpm": 500.0, "tpd": 2**53})
    assert checked == {"rpm": 500, "tpd": 2**53}
    assert type(checked["rpm"]) is int


def test_what_is_no_limit_is_left_alone():
    """Other entries, also with a colon, are free."""
    free = {"team:alpha": "x", "label": "rpm", "note": 0, "rpmish": -1}
    assert check_metadata(free) == free
    assert declared(**free) == {}


def test_concurrency_is_read_by_routing_and_is_no_account():
    """Calls at once are bounded a key; without a declaration they are not."""
    assert declaration(check_metadata({"max_concurrency": 3})).max_concurrency == 3
    assert declaration({}).max_concurrency == float("inf")
    assert declared(max_concurrency=3) == {}


def test_accounts_do_not_depend_on_the_order_of_the_metadata():
    """The log keeps metadata sorted: what is read live and what is read again give the same accounts."""
    metadata = check_metadata({"tpm": 1, "rpm:z": 2, "rpm": 3, "rpd": 4, "rpm:a": 5})
    again = json.loads(json.dumps(metadata, sort_keys=True))
    limits = limits_of("p", "k", metadata)
    assert limits == limits_of("p", "k", again)
    assert [limit.account_id for limit in limits] == sorted(limit.account_id for limit in limits)


entries = st.dictionaries(
    st.sampled_from([*LIMIT_NAMES, "rpm:", "rpm:a|b", "rpm:b|a", "quota_group", "quota_timezone", "limits"])
    | st.text(max_size=8),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.text(max_size=3)),
)


@given(entries)
def test_whatever_was_recorded_is_read(metadata):
    """Reading never raises, also where an entry was recorded before there was a check."""
    for limit in limits_of("p", "k", metadata):
        assert limit.amount >= 1
        assert isinstance(limit.amount, int)


@given(entries)
def test_whatever_enters_is_refused_or_read_in_full(metadata):
    """A checked entry that names a limit always becomes one; nothing is lost on the way."""
    try:
        checked = check_metadata(metadata)
    except InvalidRequestError:
        return
    assert len(limits_of("p", "k", checked)) == sum(name.split(":")[0] in LIMIT_NAMES for name in checked)


def test_a_zone_that_was_recorded_before_it_was_checked_is_utc():
    """What cannot be read is as if it had not been said; folding does not stop."""
    (limit,) = limits_of("p", "k", {"rpd": 5, "quota_timezone": "the office"})
    assert limit.window == Window("fixed", "day", "UTC")


def test_a_learned_limit_belongs_to_the_account_that_a_declaration_would_name():
    """What is learned for a model is the account that `rpm:MODEL` declares, in the same window."""
    metadata = check_metadata({"quota_group": "g", "quota_timezone": "Europe/Berlin", "rpd:m": 9})
    event = QuotaLimitLearned(
        at_us=1, key_id="k", dimension="requests", unit="day", limit=9, models=("m",), source="headers"
    )
    assert learned_limit("p", "k", metadata, event) == limits_of("p", "k", metadata)[0]
