"""Tables of limits: one limit, counted for each client separately.

Each kind of limit has its kind of table, and all of them answer the same questions. Keys are evenly distributed bytes, such as
digests. Every table has a bound; its module states what happens there. A client at its limit never gains by it.
"""

from governor._units import Instant
from governor.errors import ConfigError
from governor.policies.clients._slices import slices
from governor.policies.clients.buckets import ClientBuckets
from governor.policies.contract import ClientTable, Limit
from governor.policies.limits import kind_of


def build(limit: Limit, max_clients: int) -> ClientTable:
    """An empty table for the limit, with entries for at most `max_clients` clients.

    Raises `ConfigError` for a kind of limit that has no tables.
    """
    make = kind_of(limit).clients
    if make is None:
        raise ConfigError("limits", limit.describe(), "a limit of a kind with tables of clients")
    return make(limit, max_clients)


def change(now: Instant, table: ClientTable, limit: Limit, max_clients: int) -> ClientTable:
    """A table for another limit that continues from this one; an empty one for a limit of another kind."""
    if table.parameters == limit and table.max_clients == max_clients:
        return table
    changed = build(limit, max_clients)
    if type(changed) is type(table):
        changed.carry_over(now, table)
    return changed


def sweeps(table: ClientTable) -> int:
    """The number of calls of `sweep` after which every entry that the table has now was visited, at most."""
    return slices(len(table), ClientBuckets.TABLES)
