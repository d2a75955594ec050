"""Actors: each is the only writer of its state, and is reached by messages, permits and leases.

The actor of a scope is one object. Its class is written in four files, from what nearly every call needs to what is rare:

- `granting`: plain grants
- `in_place`: successes, and beginnings of answers, that need no step
- `stepped`: what needs a step; the parts that steps need are made with the first of them
- `actor`: the whole actor, and what the supervisor asks of it; `kept_actor` is that of a scope whose state is kept

A step (`steps`) reads the `mailbox`, decides (`scope`), spends and counts (`ledger`), serves the `queue`, and ends with the
`effects` that the supervisor performs. `leases` grants ahead to threads and processes, `inbound` has the groups of clients.
"""
