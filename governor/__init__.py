"""traffic-governor: never be banned by the APIs you call, and keep your own API standing."""

import governor._build  # noqa: F401 - first: it decides where the modules of the kernel come from
from governor._actors.leased_permits import LeasedPermits
from governor._actors.permit import Permit
from governor._admission import Admission, EndpointGroup
from governor._callers import caller
from governor._default import adefault, current, default, limit
from governor._failures import Classify
from governor._fingerprints import Fingerprint
from governor._governor import Governor
from governor._inbound import Inbound
from governor._lives import GovernorState
from governor._permit_request import Cost, PermitRequest
from governor._units import Duration, Instant
from governor._version import __version__
from governor.config import Config
from governor.errors import (
    BanBudgetSpent,
    BudgetSpent,
    CircuitOpen,
    ConcurrencyExceeded,
    ConfigError,
    CostExceedsCapacity,
    DegradedMode,
    GovernorError,
    LoopDetected,
    Overloaded,
    PermitDenied,
    Problem,
    ProviderCooldown,
    RateLimited,
    Reason,
    RequestCapExceeded,
    RetryBudgetSpent,
    ShuttingDown,
    UsageError,
)
from governor.messages import AvailableQuota, Denied, InboundDenied, InboundRequest, NoRetry, RetryPlan
from governor.policies.ban_budget import BanBudget
from governor.policies.ban_guard import Rejection
from governor.policies.breaker_parameters import Breaker
from governor.policies.contract import ClientTable, Forecast, Grant, Limit, LimitPolicy, Request, Result
from governor.policies.gcra import TokenBucket
from governor.policies.in_flight import InFlight
from governor.policies.limits import register_limit
from governor.policies.loops import Loops
from governor.policies.retry import CallFailure, Retry
from governor.policies.retry_budget import RetryBudget
from governor.policies.service_order import Priority
from governor.policies.window_parameters import StrictWindow
from governor.statistics import (
    BreakerStatistics,
    ClientStatistics,
    CounterRecord,
    DenialStatistics,
    FailureStatistics,
    GroupStatistics,
    LimitStatistics,
    LoopStatistics,
    MemberStatistics,
    ScopeStatistics,
    Statistics,
)

__all__ = [
    "Admission",
    "AvailableQuota",
    "BanBudget",
    "BanBudgetSpent",
    "Breaker",
    "BreakerStatistics",
    "BudgetSpent",
    "CallFailure",
    "CircuitOpen",
    "Classify",
    "ClientStatistics",
    "ClientTable",
    "ConcurrencyExceeded",
    "Config",
    "ConfigError",
    "Cost",
    "CostExceedsCapacity",
    "CounterRecord",
    "DegradedMode",
    "DenialStatistics",
    "Denied",
    "Duration",
    "EndpointGroup",
    "FailureStatistics",
    "Fingerprint",
    "Forecast",
    "Governor",
    "GovernorError",
    "GovernorState",
    "Grant",
    "GroupStatistics",
    "InFlight",
    "Inbound",
    "InboundDenied",
    "InboundRequest",
    "Instant",
    "LeasedPermits",
    "Limit",
    "LimitPolicy",
    "LimitStatistics",
    "LoopDetected",
    "LoopStatistics",
    "Loops",
    "MemberStatistics",
    "NoRetry",
    "Overloaded",
    "Permit",
    "PermitDenied",
    "PermitRequest",
    "Priority",
    "Problem",
    "ProviderCooldown",
    "RateLimited",
    "Reason",
    "Rejection",
    "Request",
    "RequestCapExceeded",
    "Result",
    "Retry",
    "RetryBudget",
    "RetryBudgetSpent",
    "RetryPlan",
    "ScopeStatistics",
    "ShuttingDown",
    "Statistics",
    "StrictWindow",
    "TokenBucket",
    "UsageError",
    "__version__",
    "adefault",
    "caller",
    "current",
    "default",
    "limit",
    "register_limit",
]
