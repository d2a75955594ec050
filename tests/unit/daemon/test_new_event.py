"""A new event is one class: listeners, the timeline and the log take it as it is."""

import json
from pathlib import Path
from typing import Any, ClassVar, cast

import msgspec
import pytest

from governor import Config, Governor
from governor.daemon.feed import Feed
from governor.daemon.reading import Observer
from governor.daemon.recorder import recording
from governor.instrumentation import AnyEvent, Entry, Event, Shown, Tone
from governor.testing import ManualClock

pytestmark = pytest.mark.anyio


class ScopeRenamed(Event, frozen=True):
    """An event that does not exist: a scope has another name."""

    shown: ClassVar = Shown.ALWAYS

    scope: str
    before: str

    def entry(self) -> Entry:
        return self._entry(Tone.QUIET, self.scope, f"was called {self.before}", scope=self.scope)


async def test_a_new_event_reaches_listeners_the_timeline_and_the_log(tmp_path: Path) -> None:
    settings = Config.from_mapping({"logging": {"enabled": True, "directory": str(tmp_path / "logs")}})
    async with Governor(settings, clock=ManualClock()) as governor:
        observer = Observer(governor)
        feed = Feed(observer)
        listener = feed.join()
        assert listener is not None
        with recording(observer):
            governor._listeners.announcer(cast("AnyEvent", ScopeRenamed(scope="weather", before="wether")))
            await listener.woken.wait()
            (message,) = listener.take()
        feed.leave(listener)

    told: list[dict[str, Any]] = [json.loads(line[6:]) for line in message.decode().splitlines() if line.startswith("data: ")]
    (entry,) = observer.history.report().timeline
    (line,) = (json.loads(line) for file in (tmp_path / "logs").iterdir() for line in file.read_text().splitlines())
    assert "scope_renamed" == told[0]["event"] == told[1]["event"] == entry.event == line["event"]
    assert msgspec.to_builtins(entry) == told[1]
    assert ("weather", "was called wether") == (entry.subject, entry.text)
