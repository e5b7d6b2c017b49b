"""The pages for people: one at `/` for browsers, and Swagger UI at `/v1/ui/` with the contract in it.

Connexion would serve Swagger UI under that program's own name and with a script inside the page; here the policy of
the pages allows no scripts but those that are served with them."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from swagger_ui_bundle import swagger_ui_path

from zun_coe.api.negotiating import preferred

UI = "/v1/ui"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Pages:
    """Answers for the pages, and leaves everything else to the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._swagger = app, StaticFiles(directory=swagger_ui_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answer: ASGIApp | None = None
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            answer = await self._answer(scope)
        await (answer or self._app)(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path == "/":
            return _page("index.html") if _is_browser(scope) else None
        if path == UI:
            return RedirectResponse(f"{scope.get('root_path', '')}{UI}/", HTTPStatus.PERMANENT_REDIRECT)
        directory, _, name = path.rpartition("/")
        if directory != UI:
            return None
        if name in ("", "index.html"):
            return _page("ui.html")
        return _page(name) if name in ("page.css", "page.js") else await self._asset(name, scope)

    async def _asset(self, name: str, scope: Scope) -> Response | None:
        """A file of Swagger UI, but for its own page, which is a template."""
        if name.rpartition(".")[2] not in ("css", "js", "map", "png"):
            return None
        try:
            return await self._swagger.get_response(name, scope)
        except HTTPException:
            return None


def _page(name: str) -> Response:
    content = files("zun_coe").joinpath("pages", name).read_bytes()
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=_HEADERS)


def _is_browser(scope: Scope) -> bool:
    """Whether HTML is what the client would rather have. A client that takes anything gets the versions."""
    return preferred(Headers(scope=scope).get("accept", ""), ["application/json", "text/html"]) == "text/html"
