"""Policies: pure state machines that decide on (state, input, now).

`contract` says what each of them answers. `pipeline` asks those of one scope together; `composition` builds it from settings.

- The limits of one scope: `gcra`, `windows`, `in_flight`. `limits` registers their kinds.
- The limits of several scopes: `provider`, `shared_limit`, `request_cap`, `budget`.
- What closes a scope, a provider or everything: `breakers`, `cooldown`, `rejection_run`, `ban_budget`, `degraded`; and single
  requests: `loops`.
- What servers say, and what is learned from their denials: `learning`.
- Retries: `retry`, `retry_budget`.
- The queue: `service_order`, `queue_forecast`.
- What survives a death: `mark`, `account`, `survival`, `lost_calls`.
- The clients of inbound groups: `clients`.
"""
