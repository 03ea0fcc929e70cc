"""Any ASGI server can be pointed at the published application."""

import asyncio
import socket
import sys

import httpx


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def test_uvicorn_serves_the_published_path(tmp_path):
    """`uvicorn apikeyrouter.interfaces.http.app:app` starts with a log in the working folder."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "apikeyrouter.interfaces.http.app:app", "--port", str(port)),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, asyncio.timeout(20):
            while True:
                try:
                    health = await client.get("/health")
                    break
                except httpx.TransportError:
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
            assert health.json()["status"] == "ok"
            assert (await client.get("/openapi.json")).json()["paths"]["/v1/chat/completions"]
            assert b"apikeyrouter_log_head_position" in (await client.get("/metrics")).content
            assert (await client.get("/api/v1/keys")).status_code == 401
    finally:
        process.terminate()
        await process.communicate()
    assert (tmp_path / "apikeyrouter.db").exists()
