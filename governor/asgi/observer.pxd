"""The observer of a response, in C."""


cdef class ResponseObserver:
    cdef public object replacement, server, status, _fields
    cdef public tuple ended
    cdef public bint _replaced
