"""Whom a request is from: by headers and by intents, checked before anything is decided by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import QUESTION, running_proxy, scripted

from apikeyrouter.application.origin import MOST_TAGS, NOBODY, Origin, origin_of
from apikeyrouter.domain.events import RouteDecided
from apikeyrouter.domain.models.system_error import InvalidRequestError
from apikeyrouter.interfaces.scripted_provider import ScriptedProvider


class TestNames:
    def test_tags_are_a_set_in_order(self):
        """However they were written down, the same tags are the same facts."""
        assert origin_of("c", "t", ["b", "a", "b"]) == Origin(client_id="c", team="t", tags=("a", "b"))
        assert origin_of() == NOBODY

    @pytest.mark.parametrize("bad", ["", "x" * 129, "a\nb", "\x00", 5, b"a", ["a"]])
    def test_what_is_no_name_is_refused(self, bad):
        """The message says which it is."""
        for given_, param in (({"client_id": bad}, "client_id"), ({"team": bad}, "team")):
            with pytest.raises(InvalidRequestError, match=param) as error:
                origin_of(**given_)
            assert error.value.param == param
        if bad != ["a"]:
            with pytest.raises(InvalidRequestError) as error:
                origin_of(tags=[bad])
            assert error.value.param == "tags"

    def test_tags_are_bounded(self):
        """Each may be one of a budget, so their number is."""
        assert len(origin_of(tags=[str(n) for n in range(MOST_TAGS)]).tags) == MOST_TAGS
        with pytest.raises(InvalidRequestError, match="16 tags"):
            origin_of(tags=[str(n) for n in range(MOST_TAGS + 1)])

    @given(st.text(max_size=140), st.lists(st.text(max_size=5), max_size=20))
    def test_any_text_is_a_name_or_refused(self, name, tags):
        """No other error comes out."""
        try:
            origin = origin_of(name, name, tags)
        except InvalidRequestError:
            return
        assert origin.client_id == name
        assert set(origin.tags) == set(tags)


class TestHeaders:
    @pytest.fixture
    async def proxy(self):
        async with ScriptedProvider(scripted("a")) as provider, running_proxy() as proxy:
            await proxy.provide(provider, "a")
            yield proxy

    async def send(self, proxy, *headers):
        return await proxy.client.post("/v1/chat/completions", json=QUESTION, headers=list(headers))

    async def facts(self, proxy, *headers):
        answer = await self.send(proxy, *headers)
        assert answer.status_code == 200, answer.text
        (decided, *_) = [
            each.event for each in proxy.node.reader.read() if isinstance(each.event, RouteDecided)
        ][-1:]
        return decided.facts, decided.policy

    async def test_they_become_facts_of_the_request(self, proxy):
        """Client, team, tags over several lines, and whether cheaper models may serve."""
        facts, policy = await self.facts(
            proxy,
            ("x-akr-client", "c"),
            ("x-akr-team", "Z\u00fcrich".encode()),
            ("X-AKR-Tags", "b, a,"),
            ("x-akr-tags", "c,a"),
            ("x-akr-downgrade", "true"),
        )
        assert (facts.client_id, facts.team, facts.tags) == ("c", "Z\u00fcrich", ("a", "b", "c"))
        assert policy.downgrade

    async def test_nobody_need_say_anything(self, proxy):
        """Then no scope but the global and those of the route apply."""
        facts, policy = await self.facts(proxy)
        assert (facts.client_id, facts.team, facts.tags, policy.downgrade) == (None, None, (), False)

    @pytest.mark.parametrize(
        "header",
        [
            ("x-akr-client", ""),
            ("x-akr-client", "x" * 129),
            ("x-akr-client", b"\xff"),
            ("x-akr-team", ""),
            ("x-akr-tags", ",".join(str(n) for n in range(17))),
            ("x-akr-downgrade", "yes"),
            ("x-akr-downgrade", "True"),
        ],
    )
    async def test_bad_ones_are_refused_with_a_clear_error(self, proxy, header):
        """In OpenAI's dialect, and nothing is sent."""
        answer = await self.send(proxy, header)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"]
        assert not [each for each in proxy.node.reader.read() if isinstance(each.event, RouteDecided)]

    @pytest.mark.parametrize("name", ["x-akr-client", "x-akr-team", "x-akr-downgrade", "x-akr-objective"])
    async def test_a_header_twice_is_refused(self, proxy, name):
        """Which of them is meant is not guessed."""
        said = {"x-akr-downgrade": "true", "x-akr-objective": "cost"}.get(name, "a")
        answer = await self.send(proxy, (name, said), (name, said))
        assert answer.status_code == 400
        assert name in answer.json()["error"]["message"]
