"""Routing, in C."""

cimport cython


cdef class Router:
    cdef public object _paths, _root
    cdef public dict _known

    cpdef object match(self, object scope)
