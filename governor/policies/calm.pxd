"""What notices a success in a calm scope, in C."""

cimport cython

from governor.policies.breakers._failure_rate cimport FailureRate
from governor.policies._places cimport PlacesInFlight
from governor.policies.windows._uses cimport WindowUses


@cython.final
cdef class Calm:
    cdef public object _breaker, shared, succeed
    cdef public FailureRate _rate
    cdef public tuple _limits, _parts, _trackers, queues
    cdef public long long since, _slow_call


cdef inline bint succeeded(Calm calm, long long now, long long granted_at) except -1:
    """`calm.succeed(now, granted_at)`."""
    cdef bint goes_on = True, so
    for part in calm._parts:
        if isinstance(part, WindowUses):
            so = WindowUses.succeed(<WindowUses>part, now, granted_at)
        elif isinstance(part, PlacesInFlight):
            so = PlacesInFlight.succeed(<PlacesInFlight>part, now, granted_at)
        elif calm._rate is None or now - granted_at >= calm._slow_call:
            so = part.succeed(now, granted_at)
        else:
            # `BreakerPolicy.succeed`
            so = not FailureRate.reached(calm._rate, now, 0) or part.succeed(now, granted_at, True)
        goes_on = so and goes_on
    for tracker in calm._trackers:
        tracker.look(now)
    return goes_on
