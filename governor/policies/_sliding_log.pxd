"""A sliding log in C."""

cimport cython


cdef class SlidingLog:
    cdef public long long total, slot_ends, window, _forgotten, _grain
    cdef public object newest, _slots

    @cython.locals(gone="long long", newest=list, oldest=list)
    cpdef int add(self, long long now, long long count) except -1
