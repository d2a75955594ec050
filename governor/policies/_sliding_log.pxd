"""A sliding log in C."""

cimport cython


cdef class SlidingLog:
    cdef public long long more, newest_at, slot_ends, total, window, _forgotten, _grain
    cdef public object _closed

    @cython.locals(gone="long long")
    cpdef int add(self, long long now, long long count) except -1
