"""A failure rate in C."""

cimport cython

from governor.policies.breakers._call_log cimport CallLog


@cython.final
cdef class FailureRate:
    cdef public long long calls, failures, _least, _minimum_calls
    cdef public object _last, _most
    cdef public CallLog _log

    @cython.locals(log=CallLog, failures="long long")
    cpdef bint reached(self, long long now, long long failed) except -1
