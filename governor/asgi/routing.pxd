"""Routing, in C."""

cimport cython


cdef class Router:
    cdef public object _paths, _root
    cdef public dict known

    cpdef object match(self, object scope)
