"""What grants plain requests, in C."""

cimport cython

from governor._actors.lifecycle cimport Lifecycle
from governor._actors.permit cimport Permit, new_permit
from governor._fields cimport BucketFields, CapFields, PermitSource, has_any
from governor.policies.plain cimport PlainSpending, spent_at_once


cdef extern from *:
    """
    #if defined(__linux__)
    #include <time.h>
    static long long monotonic_microseconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    }
    #else
    static long long monotonic_microseconds(void) { return -1; }
    #endif
    """
    long long monotonic_microseconds() nogil


cdef inline long long read_clock(object clock, object system_clock) except? -1:
    """`clock()`. The clock of the system is read as `time.monotonic_ns` reads it, which is known for Linux."""
    cdef long long now = -1
    if clock is system_clock:
        now = monotonic_microseconds()
    return clock() if now < 0 else now


cdef inline object seconds_of(long long span, object to_seconds):
    """`to_seconds(span)`. Both are exact to the last bit while a float has room for the span."""
    return <double>span / 1000000. if -(1LL << 53) < span < 1LL << 53 else to_seconds(span)


cdef object BUSY, IDLE, system_clock  # Read without a look-up.


cdef class Granting(PermitSource):
    cdef public object _clock, _common, _lender, _make, _reason, _steps, inbox, ledger, scope, unread
    cdef public BucketFields _bucket
    cdef public CapFields _cap
    cdef public Lifecycle life
    cdef public PlainSpending _spending
    cdef public tuple _shared
    cdef public bint _watched
    cdef public long long _generation, gate

    @cython.locals(now="long long", ready="long long", cap=CapFields, life=Lifecycle)
    cdef object granted(self, bint deny)

    @cython.locals(gate="long long", counts=dict)
    cpdef object _deny(self, long long now)
