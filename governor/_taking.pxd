"""The addresses of the scopes, in C."""

from governor._actors.permit cimport source_of, this_thread


cdef class Taking:
    cdef public dict addresses
    cdef public list by_label
    cdef public long long thread
