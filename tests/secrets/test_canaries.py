"""Key material appears nowhere: not in files, logs, errors, pages, metrics or output."""

import asyncio
import json
import sys
from pathlib import Path

import httpx
import msgspec
from loopback import QUESTION

from apikeyrouter.interfaces.scripted_provider import Fault, FaultKind, KeyScript, Script, ScriptedProvider

SHORTEST_RUN = 8
GOOD = {
    "plain": "sk-canary-plain-0123456789abcdefghij",
    "project": "sk-proj-CANARYprojectAAAABBBBCCCCDDDD_-EEEE",
    "anthropic": "sk-ant-api03-canaryANTHROPICxyzxyzxyz-AA",
    "google": "AIzaSyCANARYgooglekeykeykeykeykeykey123",
    "hex": "deadbeefcanary00deadbeefcanary00deadbeef",
    "base64": "Y2FuYXJ5LWtleS1tYXRlcmlhbC1pbi1iYXNlNjQ=",
    "jwt": "eyJhbGciOiJub25lIn0.eyJjYW5hcnkiOiJqd3QifQ.c2lnbmF0dXJl",
    "short": "k9Xq2Lw8Zt4P",
    "quotes": "sk-canary-\"quoted\"-'key'-`tick`",
    "percent": "sk-canary-%s-%(name)s-%41%0d%0a",
    "braces": "sk-canary-{key}-{0!r}-${HOME}",
    "backslash": "sk-canary-back\\slash\\n\\u0041",
    "html": "sk-canary-<img/src=x/onerror=steal()>",
    "url": "https://user:sk-canary-url@host/path?x=y",
    "sql": "sk-canary-';DROP/**/TABLE/**/keys;--",
    "long": "sk-canary-" + "L0ng" * 200,
}
BAD = {
    "newline": "sk-canary-evil\r\nX-Injected: 1",
    "nul": "sk-canary-nul\x00byte",
    "space": "sk-canary with spaces",
    "unicode": "sk-canary-unicodé-ключ",
    "tab": "sk-canary-tab\tstop",
}
FAULTS = (
    Fault(kind=FaultKind.EchoKey, first=1),
    Fault(kind=FaultKind.Status, status=400, message="bad key {key}", after=1, first=1),
    Fault(kind=FaultKind.Status, status=429, message="slow down {key}", retry_after=0, after=2, first=1),
    Fault(kind=FaultKind.Status, status=500, message="oops {key}", after=3, first=1),
    Fault(kind=FaultKind.Status, status=401, message="Incorrect API key provided: {key}", after=4),
)


def runs_of(secret: str) -> set[bytes]:
    """Cut a secret into all its stretches of eight characters."""
    return {
        secret[start : start + SHORTEST_RUN].encode()
        for start in range(max(1, len(secret) - SHORTEST_RUN + 1))
    }


def leaks(texts: dict[str, bytes]) -> list[tuple[str, str]]:
    """Name every text that holds a stretch of a secret, save stretches that say nothing secret."""
    harmless = {
        run
        for word in ("sk-canary-", "https://user:", "X-Injected", "-canary-")
        for run in runs_of(word)
        if run in word.encode()
    }
    secrets = {name: runs_of(secret) - harmless for name, secret in {**GOOD, **BAD}.items()}
    return [
        (place, name)
        for place, text in texts.items()
        for name, runs in secrets.items()
        if any(run in text for run in runs)
    ]


async def test_no_stretch_of_any_key_appears_anywhere(tmp_path):
    """Twenty shapes of keys are registered, used, rotated and revoked; then everything is searched."""
    keys = {name: KeyScript(key=secret, faults=FAULTS) for name, secret in GOOD.items()}
    texts: dict[str, bytes] = {}
    async with ScriptedProvider(Script(keys=keys)) as provider:
        process = await serve(tmp_path)
        try:
            url = json.loads(await process.stdout.readline())["url"]
            await use_everything(url, management_key(tmp_path), provider.base_url, texts)
        finally:
            process.terminate()
            output, errors = await process.communicate()
    texts |= {"stdout": output, "stderr": errors}
    texts |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len([name for name in texts if "router.db" in name]) >= 2
    assert b"key.registered.v1" in texts[str(tmp_path / "router.db")]
    assert not leaks(texts)


async def serve(folder: Path):
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "apikeyrouter"),
        *("serve", "--port", "0", "--database", str(folder / "router.db"), "--log-level", "debug", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
    )


def management_key(folder: Path) -> str:
    return msgspec.json.decode((folder / "router.db.run").read_bytes())["management_key"]


async def use_everything(url: str, run_key: str, provider_url: str, texts: dict[str, bytes]) -> None:
    """Touch every surface, and keep every answer with its headers."""
    headers = {"x-api-key": run_key}
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def keep(method: str, path: str, **request) -> httpx.Response:
            answer = await client.request(method, path, **request)
            texts[f"{len(texts)} {method} {path}"] = answer.content + str(answer.headers).encode()
            return answer

        body = {"provider_id": "openai", "base_url": provider_url}
        await keep("POST", "/api/v1/providers", json=body, headers=headers)
        for secret in (*GOOD.values(), *GOOD.values(), *BAD.values()):
            body = {"provider_id": "openai", "key_material": secret, "metadata": {"rpm": 60}}
            await keep("POST", "/api/v1/keys", json=body, headers=headers)
            await keep("POST", "/api/v1/keys", json={**body, "metadata": {"rpm": "x"}}, headers=headers)
            await keep("POST", "/api/v1/keys", json={**body, "provider_id": "none"}, headers=headers)
        last = None
        for number in range(6 * len(GOOD)):
            last = await keep("POST", "/v1/chat/completions", json={**QUESTION, "stream": number % 3 == 0})
        listed = (await keep("GET", "/api/v1/keys", headers=headers)).json()
        assert len(listed) == len(GOOD)
        path = f"/api/v1/keys/{listed[0]['id']}"
        await keep("POST", f"{path}/rotate", json={"key_material": BAD["newline"]}, headers=headers)
        await keep("POST", f"{path}/rotate", json={"key_material": GOOD["plain"]}, headers=headers)
        await keep("POST", f"{path}/revoke", headers=headers)
        for page in ("/metrics", "/health", "/openapi.json", "/docs", "/v1/models"):
            await keep("GET", page)
        for page in ("events?limit=1000", "state", f"requests/{last.headers.get('x-request-id')}"):
            await keep("GET", f"/api/v1/{page}", headers=headers)


def test_the_scan_finds_what_it_looks_for():
    """A scan that cannot fail would prove nothing."""
    assert leaks({"log": b"... " + GOOD["hex"][5:13].encode() + b" ..."})
    assert not leaks({"log": b"nothing to see"})
