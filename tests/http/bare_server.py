"""A second server of the same application, which offers nothing beyond ASGI."""

import asyncio
import contextlib

import httpx
import uvicorn


@contextlib.asynccontextmanager
async def also_under_bare_uvicorn(proxy):
    """Serve the application of a running proxy by a second server, which knows nothing of it."""
    config = uvicorn.Config(proxy.proxy, port=0, lifespan="off", log_config=None, server_header=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    await serving
