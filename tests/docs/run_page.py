"""Runs everything on one page, from top to bottom: `python run_page.py PAGE`, in an empty folder.

Without a page it reads lines of JSON, `[PAGE, FOLDER, FILE]`, and runs each page in a process of its own that is forked from
this one, which has imported what most pages need. What that process prints goes to the file; its exit status is answered.

The language of a block says what it is. `toml` is a policy file, or a preset, and must load. `python` is a program that runs on
its own, as if pasted into a file. Both are kept as a file if their first line names one (`# governor.toml`); such a program is
not run here but by a command. `console` shows commands and what they print; those that concern the project are run. `output` is
what the block before it printed. In both, `...` stands for anything. `text`, `yaml`, `ini` and `dockerfile`
are not run.

Calls to `https://api.…` reach a server on this machine instead, which counts as the outside world. A quoted host `"api.…"` is
that of this server.
"""

import doctest
import gc
import io
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Final, NamedTuple
from unittest.mock import patch

from governor import Config, presets
from governor.testing import reset

#: Seconds until the process of a page is ended by a signal.
PATIENCE: Final = 110
#: `python -m pytest` has the plugins that the page names, and not those of everything that is installed here as well.
PLUGINS: Final = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "anyio.pytest_plugin,pytest_httpx2",
}
LANGUAGES: Final = {"dockerfile", "ini", "toml", "python", "console", "output", "text", "yaml"}
FENCE: Final = re.compile(r"^\s*```", re.MULTILINE)
BLOCK: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE: Final = re.compile(r"# (\w+\.(?:toml|py))\n")
COMMAND: Final = re.compile(r"^\$ (?P<command>.*)\n(?P<printed>(?:(?!\$ ).*\n)*)", re.MULTILINE)
RUN: Final = re.compile(r"(?:[A-Z_]+=\S+ )?(?:governor (?:check|init|presets|schema)|python \w+\.py|python -m pytest)")
WORLD: Final = re.compile(r"https://api\.[a-z.]+")
WORLD_HOST: Final = re.compile(r'(?<=")api\.[a-z.]+(?=")')


class Block(NamedTuple):
    """One block, and the line of the page on which its text begins."""

    language: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """All blocks of a page; a fence that belongs to none, or to one in an unknown language, is a mistake."""
    found = [Block(one["language"], one["text"], page.count("\n", 0, one.start()) + 2) for one in BLOCK.finditer(page)]
    assert len(FENCE.findall(page)) == 2 * len(found), "a block is indented, or not closed"
    assert {block.language for block in found} <= LANGUAGES, f"a block is in none of {sorted(LANGUAGES)}"
    return found


def run(page: Path) -> None:
    """Runs every block in order. Raises what the first one raises that does not work."""
    printed = ""
    with outside_world() as address:
        for block in blocks(page.read_text(encoding="utf-8")):
            file = FILE.match(block.text)
            if file:
                Path(file[1]).write_text(redirected(block.text, address), encoding="utf-8")
            if block.language == "toml" and "[[figures]]" in block.text:
                presets.read(block.text, name=str(page))
            elif block.language == "toml":
                Config.from_mapping(tomllib.loads(block.text))
            elif block.language == "python" and not file:
                # Empty lines in front, so that a traceback names lines of the page.
                source = "\n" * (block.line - 1) + redirected(block.text, address)
                with redirect_stdout(io.StringIO()) as output:
                    paste(source, page)
                printed = output.getvalue()
            elif block.language == "console":
                for shown in COMMAND.finditer(block.text):
                    if RUN.match(shown["command"]):
                        compare(shown["printed"], shell(shown["command"]), f"{page}:{block.line}")
            elif block.language == "output":
                compare(block.text, printed, f"{page}:{block.line}")


def redirected(source: str, address: str) -> str:
    """A program whose calls reach this address."""
    return WORLD_HOST.sub("127.0.0.1", WORLD.sub(address, source))


def paste(source: str, page: Path) -> None:
    """Runs a block as a program of its own, of which no governor and no setting is left."""
    with patch.dict(os.environ), patch.object(sys, "path", [str(Path.cwd()), *sys.path]):
        exec(compile(source, str(page), "exec"), {"__name__": "__main__"})
    reset()


def shell(command: str) -> str:
    """What a command prints, mistakes included."""
    programs = Path(sys.executable).parent
    words = [str(programs / word) if word in ("python", "governor") else word for word in command.split()]
    return subprocess.run(
        ["env", *words],
        env={**os.environ, **PLUGINS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=80,
        check=False,
    ).stdout


def compare(expected: str, actual: str, place: str) -> None:
    """Raises `AssertionError` unless this was printed."""
    alike = doctest.OutputChecker().check_output(expected, actual, doctest.ELLIPSIS)
    assert alike, f"{place}: printed was\n{actual}"


class World(BaseHTTPRequestHandler):
    """Answers everything with 200 and the path."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def outside_world() -> Iterator[str]:
    """A server on this machine, at the address that is yielded, to which calls are governed as if it were elsewhere."""
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), World) as server,
        patch("governor_client._ungoverned.is_loopback", lambda host: False),
    ):
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def next_page() -> Path | None:
    """Forks a process for each page that is asked for. Returns the page in that process, and None at the end of input."""
    for line in iter(sys.stdin.buffer.readline, b""):
        page, folder, printed = json.loads(line)
        if child := os.fork():
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(1, f"{status}\n".encode())
            continue
        signal.alarm(PATIENCE)
        os.chdir(folder)
        for file, name, mode in ((0, os.devnull, os.O_RDONLY), (1, printed, os.O_WRONLY | os.O_CREAT)):
            opened = os.open(name, mode)
            os.dup2(opened, file)
            os.close(opened)
        os.dup2(1, 2)
        return Path(page)
    return None


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        for name in ("fastapi", "governor.asgi", "governor_client", "httpx2"):
            import_module(name)
        gc.freeze()
        if asked := next_page():
            run(asked)
