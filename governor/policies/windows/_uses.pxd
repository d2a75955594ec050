"""The uses of a strict window, in C."""

cimport cython

from governor._fields cimport LimitFields
from governor.policies._sliding_log cimport SlidingLog


cdef class WindowUses(LimitFields):
    cdef public long long moving, _amount, _due, _latest, _margin, _newest, _newest_at
    cdef public object _unit
    cdef public bint _by_outcome
    cdef public dict _earlier
    cdef public SlidingLog _log

    @cython.locals(dated="long long", grain="long long", units="long long", earlier=dict)
    cpdef long long spend(self, long long now, long long cost) except? -1

    @cython.locals(dated="long long", units="long long", earlier=dict, log=SlidingLog)
    cpdef bint succeed(self, long long now, long long granted_at) except -1
