"""Member: a process whose limits a daemon owns. Its leases, its connection to the daemon, and what it does without it.

- `member` is the backend of the governor, and `stand_in` the address of a scope, in front of the daemon.
- Outbound calls: `asks` wait for an answer, `lease` has what was granted ahead, `permits` and `calls` bring outcomes back.
- Inbound requests: `gate` is asked, `batches` are sent, `deciding_here` decides without the daemon.
- The way to the daemon: `link` connects again and again, `session` speaks the protocol, `connection` has the socket.
- Without the daemon: `away` decides by a share of each limit.
"""
