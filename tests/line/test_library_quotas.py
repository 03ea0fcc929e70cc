"""Quotas, forecasts and the life of keys through the library."""

import asyncio

import pytest
from loopback import MODEL, QUESTION, material_of, scripted

from apikeyrouter import ApiKeyRouter, KeyState
from apikeyrouter.domain.components.quota_awareness_engine import CapacityState, QuotaState
from apikeyrouter.domain.events import QuotaLimitLearned, RouteDeferred
from apikeyrouter.domain.models.system_error import (
    ConflictError,
    InvalidRequestError,
    NoEligibleKeysError,
    NotFoundError,
)
from apikeyrouter.infrastructure.adapters.openai_adapter import OpenAIAdapter
from apikeyrouter.interfaces.scripted_provider import KeyScript, ScriptedProvider


@pytest.fixture
async def provider():
    async with ScriptedProvider(scripted("a", "b", "c")) as provider:
        yield provider


@pytest.fixture
async def router(provider):
    async with ApiKeyRouter() as router:
        await router.register_provider("openai", OpenAIAdapter(base_url=provider.base_url))
        yield router


class TestQuotaQueries:
    async def test_a_request_moves_the_figures(self, router):
        """What a request used is settled, what was held beyond that is back."""
        key = await router.register_key(material_of("a"), "openai", {"rpm": 10, "tpm": 100_000})
        response = await router.route(QUESTION)
        state = await router.quota_awareness_engine.get_quota_state(key.id)
        assert isinstance(state, QuotaState)
        settled = {account.dimension: account.settled for account in state.accounts}
        assert settled == {"requests": 1, "tokens": response.metadata.tokens_used.total_tokens}
        assert not any(account.reserved for account in state.accounts)
        assert state.remaining_capacity.value == 9

    async def test_exhaustion_is_foreseen_and_told(self, router):
        """At the limit the key is exhausted, by both questions."""
        key = await router.register_key(material_of("a"), "openai", {"rpm": 3})
        for _ in range(3):
            await router.route(QUESTION)
        state = await router.quota_awareness_engine.get_quota_state(key.id)
        assert state.capacity_state is CapacityState.Exhausted
        foreseen = await router.quota_awareness_engine.predict_exhaustion(key.id)
        assert foreseen.probability == 1.0
        assert foreseen.exhausted_at < foreseen.horizon_ends_at

    async def test_a_key_without_limits_is_unknown(self, router):
        """No number is made up."""
        key = await router.register_key(material_of("a"), "openai")
        await router.route(QUESTION)
        assert (await router.quota_awareness_engine.get_quota_state(key.id)).capacity_state == "unknown"
        assert (await router.quota_awareness_engine.predict_exhaustion(key.id)).probability is None

    async def test_an_unknown_key(self, router):
        """Nobody's quota is not found, rather than empty."""
        with pytest.raises(NotFoundError):
            await router.quota_awareness_engine.get_quota_state("nobody")
        with pytest.raises(NotFoundError):
            await router.quota_awareness_engine.predict_exhaustion("nobody")


class TestLife:
    async def test_draining_an_idle_key_disables_it(self, router):
        """With nothing under way a drained key is disabled at once, and enabling brings it back."""
        key = await router.register_key(material_of("a"), "openai")
        assert (await router.drain_key(key.id)).state is KeyState.Disabled
        assert (await router.enable_key(key.id)).state is KeyState.Available

    async def test_a_draining_key_finishes_what_is_under_way(self, router, provider):
        """The call goes on to its end, no new one is made, then the key is disabled."""
        provider.put_key("a", KeyScript(key=material_of("a"), hold=True))
        key = await router.register_key(material_of("a"), "openai")
        under_way = asyncio.create_task(router.route(QUESTION))
        async with asyncio.timeout(5):
            while not (await router.key_manager.get_key(key.id)).in_flight:
                await asyncio.sleep(0.005)
        assert (await router.drain_key(key.id)).state is KeyState.Draining
        with pytest.raises(NoEligibleKeysError, match="it is being drained"):
            await router.route(QUESTION)
        provider.change_key("a", hold=False)
        assert (await under_way).content
        assert (await router.key_manager.get_key(key.id)).state is KeyState.Disabled

    async def test_a_pinned_key_gets_everything_until_it_is_unpinned(self, router):
        """A preference, told in every explanation."""
        keys = [await router.register_key(material_of(name), "openai") for name in "abc"]
        assert (await router.pin_key(keys[1].id)).pinned
        answers = [await router.route(QUESTION) for _ in range(6)]
        assert {answer.key_used for answer in answers} == {keys[1].id}
        assert "another key is pinned" in answers[0].metadata.routing_explanation
        assert not (await router.unpin_key(keys[1].id)).pinned
        with pytest.raises(ConflictError):
            await router.unpin_key(keys[1].id)

    async def test_an_update_changes_what_it_names(self, router):
        """Entries replace those of the same name, None removes one, the rest stays; limits hold at once."""
        key = await router.register_key(material_of("a"), "openai", {"label": "main", "rpm": 1, "tpm": 9000})
        await router.route(QUESTION)
        updated = await router.update_key(key.id, {"rpm": 2, "tpm": None, "limits": {MODEL: {"rpd": 7}}})
        assert updated.metadata == {"label": "main", "rpm": 2, f"rpd:{MODEL}": 7}
        await router.route(QUESTION)
        with pytest.raises(NoEligibleKeysError):
            await router.route(QUESTION)

    @pytest.mark.parametrize("metadata", [None, {}, [], {"rpm": -1}, {"RPM": 1}])
    async def test_an_unusable_update_is_refused(self, router, metadata):
        """Nothing, no mapping, or a limit that is none: the key stays as it was."""
        key = await router.register_key(material_of("a"), "openai", {"rpm": 5})
        with pytest.raises(InvalidRequestError):
            await router.update_key(key.id, metadata)
        assert (await router.key_manager.get_key(key.id)).metadata == {"rpm": 5}

    @pytest.mark.parametrize("act", ["drain_key", "pin_key", "unpin_key"])
    async def test_an_unknown_key(self, router, act):
        """Each act names what it did not find."""
        with pytest.raises(NotFoundError):
            await getattr(router, act)("nobody")


class TestTrail:
    async def test_a_wait_is_part_of_the_story(self, provider):
        """Deferred, then decided: two sentences, with the evidence of both."""
        async with ApiKeyRouter(config={"queue_timeout_s": 10}) as router:
            await router.register_provider("openai", OpenAIAdapter(base_url=provider.base_url))
            await router.register_key(material_of("a"), "openai", {"max_concurrency": 1})
            answers = await asyncio.gather(*(router.route(QUESTION) for _ in range(3)))
            trails = [await router.explain(answer.request_id) for answer in answers]
        waited = [trail for trail in trails if isinstance(trail.events[0].event, RouteDeferred)]
        assert waited
        assert waited[0].sentences[0].startswith("Deferred (no_key_available)")
        assert waited[0].sentences[-1].startswith("Chose key")
        assert not waited[0].missing

    async def test_a_learned_limit_follows_from_the_request_that_met_it(self, router, provider):
        """A limit that nobody declared is learned from an answer, and the trail of that request says so."""
        provider.put_key("a", KeyScript(key=material_of("a"), rpm=77))
        key = await router.register_key(material_of("a"), "openai")
        answer = await router.route(QUESTION)
        trail = await router.explain(answer.request_id)
        learned = [one.event for one in trail.consequences if isinstance(one.event, QuotaLimitLearned)]
        assert 77 in {event.limit for event in learned}
        told = " ".join(one["explanation"] for one in trail.as_data()["consequences"])
        assert f"the headers of an answer that key {key.id} is allowed 77 requests a minute" in told
        sources = {
            account.source
            for account in (await router.quota_awareness_engine.get_quota_state(key.id)).accounts
        }
        assert sources == {"learned_from_headers"}

    async def test_the_evidence_of_a_quota_is_in_the_trail(self, router):
        """The event that last touched the tightest account stands among the evidence."""
        await router.register_key(material_of("a"), "openai", {"rpm": 10})
        first = await router.route(QUESTION)
        second = await router.explain((await router.route(QUESTION)).request_id)
        assert f"request-{first.request_id}" in {recorded.stream for recorded in second.evidence}
