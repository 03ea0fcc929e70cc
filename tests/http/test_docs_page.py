"""`/docs` is a page of our own host, and can load nothing from another."""

import hashlib
import re

import pytest
from loopback import running_proxy

from apikeyrouter.interfaces.http.docs_page import FOLDER, MEDIA_TYPES

ORIGIN = (FOLDER / "ORIGIN.md").read_text()


@pytest.fixture
async def proxy():
    async with running_proxy() as proxy:
        yield proxy


async def test_it_loads_what_it_names_from_this_host(proxy):
    """Every script, style and picture of the page is served here, with its media type."""
    page = await proxy.client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {name.removeprefix("docs/") for name in named} == {*MEDIA_TYPES, "openapi.json"}
    for name in named:
        answer = await proxy.client.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == MEDIA_TYPES.get(
            name.removeprefix("docs/"), "application/json"
        )


async def test_browsers_are_told_to_load_nothing_else(proxy):
    """No other host, no script inside of the page, no frame around it."""
    for path in ("/docs", "/docs/start.js"):
        policy = (await proxy.client.get(path)).headers["content-security-policy"]
        directives = dict(one.split(" ", 1) for one in policy.split("; "))
        assert directives["default-src"] == "'none'"
        assert directives["script-src"] == directives["connect-src"] == "'self'"
        assert not re.search(r"https?:|\*|unsafe-eval", policy)
    page = (await proxy.client.get("/docs")).text
    assert "//" not in page
    assert not re.search(r"<script>|<style| on\w+=", page)


@pytest.mark.parametrize("path", ["/docs/ORIGIN.md", "/docs/page.html", "/docs/..%2fapp.py", "/redoc"])
async def test_nothing_else_is_served(proxy, path):
    """Only the files of the page are, and no page that loads from elsewhere."""
    assert (await proxy.client.get(path)).status_code == 404


async def test_the_management_key_can_be_given_there(proxy):
    """The document says which calls take it, and how."""
    document = (await proxy.client.get("/openapi.json")).json()
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["in"], scheme["name"]) == ("header", "X-API-Key")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert bool(operation.get("security")) == path.startswith("/api/v1/")


def test_the_files_are_those_that_came_from_their_makers():
    """Each has the hash that is written down beside it, and its licence is there."""
    told = dict(re.findall(r"^\| `([^`]+)` \| `([0-9a-f]{64})` \|$", ORIGIN, re.MULTILINE))
    ours = {"page.html", "start.js", "ORIGIN.md"}
    assert {path.name for path in FOLDER.iterdir()} == {*told, *ours}
    assert {"LICENSE", "NOTICE"} <= set(told)
    for name, digest in told.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
