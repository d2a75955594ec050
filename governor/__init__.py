"""traffic-governor: never be banned by the APIs you call, and keep your own API standing.

Each name is loaded on first use, so that a program waits only for what it uses.
"""

from typing import TYPE_CHECKING

import governor._build  # noqa: F401 - first: it decides where the modules of the kernel come from
from governor._exports import exports
from governor._version import __version__

if TYPE_CHECKING:
    from governor._actors.leases.leased_permits import LeasedPermits
    from governor._actors.permit import Permit
    from governor._admission import Admission, EndpointGroup
    from governor._asking_client import AskingClient
    from governor._callers import caller
    from governor._default import adefault, current, default, limit
    from governor._failures import Classify
    from governor._governor import Governor
    from governor._inbound import Inbound
    from governor._lives import GovernorState
    from governor._permit_request import Cost, PermitRequest
    from governor._units import Duration, Instant
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
    from governor.messages import AvailableQuota, Denied, Fingerprint, InboundDenied, InboundRequest, NoRetry, RetryPlan
    from governor.policies.ban_budget import BanBudget
    from governor.policies.ban_guard import Rejection
    from governor.policies.breakers.parameters import Breaker
    from governor.policies.contract import ClientTable, Forecast, Grant, Limit, LimitPolicy, Request, Result
    from governor.policies.gcra import TokenBucket
    from governor.policies.in_flight import InFlight
    from governor.policies.limits import register_limit
    from governor.policies.loops import Loops
    from governor.policies.retry import CallFailure, Retry
    from governor.policies.retry_budget import RetryBudget
    from governor.policies.service_order import Priority
    from governor.policies.windows.parameters import StrictWindow
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
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "_actors.leases.leased_permits": "LeasedPermits",
            "_actors.permit": "Permit",
            "_admission": "Admission EndpointGroup",
            "_asking_client": "AskingClient",
            "_callers": "caller",
            "_default": "adefault current default limit",
            "_failures": "Classify",
            "_governor": "Governor",
            "_inbound": "Inbound",
            "_lives": "GovernorState",
            "_permit_request": "Cost PermitRequest",
            "_units": "Duration Instant",
            "config": "Config",
            "errors": (
                "BanBudgetSpent BudgetSpent CircuitOpen ConcurrencyExceeded ConfigError CostExceedsCapacity DegradedMode "
                "GovernorError LoopDetected Overloaded PermitDenied Problem ProviderCooldown RateLimited Reason "
                "RequestCapExceeded RetryBudgetSpent ShuttingDown UsageError"
            ),
            "messages": "AvailableQuota Denied Fingerprint InboundDenied InboundRequest NoRetry RetryPlan",
            "policies.ban_budget": "BanBudget",
            "policies.ban_guard": "Rejection",
            "policies.breakers.parameters": "Breaker",
            "policies.contract": "ClientTable Forecast Grant Limit LimitPolicy Request Result",
            "policies.gcra": "TokenBucket",
            "policies.in_flight": "InFlight",
            "policies.limits": "register_limit",
            "policies.loops": "Loops",
            "policies.retry": "CallFailure Retry",
            "policies.retry_budget": "RetryBudget",
            "policies.service_order": "Priority",
            "policies.windows.parameters": "StrictWindow",
            "statistics": (
                "BreakerStatistics ClientStatistics CounterRecord DenialStatistics FailureStatistics GroupStatistics "
                "LimitStatistics LoopStatistics MemberStatistics ScopeStatistics Statistics"
            ),
        },
    )


__all__ = [
    "Admission",
    "AskingClient",
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
