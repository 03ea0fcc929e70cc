"""`/docs`: Swagger UI out of files of our own; the page can load nothing from any other host."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from apikeyrouter.domain.models.system_error import NotFoundError

FOLDER = Path(__file__).parent / "swagger_ui"
MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
POLICY = (
    "default-src 'none'; script-src 'self'; img-src 'self' data:; connect-src 'self'"
    "; style-src 'self' 'unsafe-inline'"  # Swagger UI styles its elements one by one
    "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff"}

router = APIRouter(include_in_schema=False)


@router.get("/docs", response_class=Response)
async def page() -> FileResponse:
    """Show the API, to read and to try."""
    return FileResponse(FOLDER / "page.html", media_type="text/html", headers=HEADERS)


@router.get("/docs/{name}", response_class=Response)
async def asset(name: str) -> FileResponse:
    """Return one of the files that the page is made of."""
    media_type = MEDIA_TYPES.get(name)
    if media_type is None:
        raise NotFoundError(f"the page has no file {name[:40]!r}", code="unknown_url")
    return FileResponse(FOLDER / name, media_type=media_type, headers=HEADERS)
