"""Daemons for tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.daemon.daemon import POLICY, Daemon, Start


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts daemons, which are gone in the end."""
    policy = tmp_path / "governor.toml"
    policy.write_text(POLICY, encoding="utf-8")
    with ExitStack() as stack:

        def run(*arguments: str) -> Daemon:
            daemon = Daemon(*arguments, policy=policy)
            stack.callback(daemon.close)
            return daemon

        yield run


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for tests that only look."""
    policy = tmp_path_factory.mktemp("daemon") / "governor.toml"
    policy.write_text(POLICY, encoding="utf-8")
    daemon = Daemon(policy=policy)
    yield daemon
    daemon.close()
