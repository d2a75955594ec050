"""The state of an actor, in C."""

cimport cython


@cython.final
cdef class Lifecycle:
    cdef public object state
    cdef object _answer, _until
