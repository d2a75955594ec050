"""Static files of the dashboard, served from the folder `dashboard` beside this module."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from governor.daemon.host_check import SECURITY_HEADERS
from governor.daemon.problems import problem

FOLDER: Final = Path(__file__).with_name("dashboard")

_files: Final = StaticFiles(directory=FOLDER)


async def index(request: Request) -> Response:
    """The HTML page."""
    return await _file(request, "index.html")


async def asset(request: Request) -> Response:
    """A script, style sheet or image of the page."""
    return await _file(request, str(request.path_params["file"]))


async def _file(request: Request, name: str) -> Response:
    try:
        response = await _files.get_response(name, request.scope)
    except HTTPException as error:
        return problem(HTTPStatus(error.status_code), f"The dashboard has no file {name!r}.")
    response.headers.update(SECURITY_HEADERS)
    # The browser revalidates each file, mostly with a 304: the page and its scripts are always of the same version.
    response.headers["Cache-Control"] = "no-cache"
    return response
