"""pyrate-limiter, with its bucket in a file of SQLite and a lock on another file, as its documentation says for processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyrate_limiter import Duration, Limiter, Rate, SQLiteBucket

from benchmarks.contention.subject import Ask, Limit
from benchmarks.processes.subject import SharedSubject


@contextmanager
def _serve(folder: Path, limit: Limit) -> Iterator[str]:
    yield str(folder / "bucket.sqlite")


@contextmanager
def _connect(address: str, limit: Limit) -> Iterator[Callable[[str], Ask]]:
    rate = Rate(limit.per_second, Duration.SECOND)
    limiter = Limiter(SQLiteBucket.init_from_file([rate], db_path=address, use_file_lock=True))
    yield lambda scope: lambda: bool(limiter.try_acquire(scope))


PYRATE_LIMITER: Final = SharedSubject("processes.subjects.files:PYRATE_LIMITER", _serve, _connect)
