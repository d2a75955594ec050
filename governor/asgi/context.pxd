"""The context of a request, in C."""

from governor.asgi.observer cimport ResponseObserver


cdef class RequestContext(ResponseObserver):
    cdef public object controller, key, _client
