"""Admission of requests, in C."""

cimport cython

from governor._actors.inbound.admitting cimport Admitting
from governor.asgi.context cimport RequestContext
from governor.asgi.identity cimport ClientKeys
from governor.asgi.routing cimport Router


cdef class AdmissionController:
    cdef public object governor, inbound, _config, _error_log, _era, _portal, _pseudonyms
    cdef public bint announces
    cdef public dict _groups
    cdef public ClientKeys keys
    cdef public Router router

    @cython.locals(group=Admitting)
    cpdef object admit(self, object scope, RequestContext context)
