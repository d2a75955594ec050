"""A permit to come, in C."""

cimport cython


cdef class PermitRequest:
    cdef public object _access, _acquire, _acquiring, _classifier, _method, _permit, _provider
