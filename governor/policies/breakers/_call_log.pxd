"""A call log in C."""

cimport cython


@cython.final
cdef class CallLog:
    cdef public long long calls, failures, window, _began, _grain, _newest, _newest_failures
    cdef public object _dates
    cdef public dict _others

    cpdef int add(self, long long now, long long failures) except -1
