"""A permit to come, in C, and the ways to it."""

cimport cython

from governor._actors.permit cimport Permit, this_thread
from governor._actors.leases.permits_ahead cimport next_of
from governor._fields cimport has_any
from governor._finished cimport finished
from governor._taking cimport Taking, address_of


cdef object NOTHING, PLAIN, ANY, get_ident  # Read without a look-up.


@cython.final
cdef class PermitRequest:
    cdef public object _acquire, _acquiring, _classifier, _method, _provider
    cdef public Permit _permit
    cdef public Taking _access


cdef class Asking:
    cdef public Taking _access


cdef class AskingElsewhere(Asking):
    pass


cpdef object ask(
    object cost, object timeout, object attempt, object caller=*, object priority=*, object fingerprint=*
)


cdef inline PermitRequest request(Asking asking, object provider, object method, object acquire, object classifier):
    """`PermitRequest(asking._access, provider, method, acquire, classifier)`."""
    cdef PermitRequest request = PermitRequest.__new__(PermitRequest)
    request._access = request._acquiring = asking._access
    request._provider = provider
    request._method = method
    request._acquire = acquire
    request._classifier = classifier
    return request


cdef inline object taken(PermitRequest request, object PLAIN, object usual):
    """The permit that `Access.acquire` begins with, if that needs no more than a look."""
    cdef Taking access = request._access
    acquire = request._acquire
    if acquire is usual:
        if not access.by_label and this_thread(get_ident) == access.thread:  # `Taking.take`, without its call.
            actor = address_of(access, request._provider, request._method)
            return None if actor is None else actor.granted(False)
        return access.take(request._provider, request._method)
    if acquire.request is not PLAIN or acquire.watched is not None:
        return None
    return access.take(request._provider, request._method, acquire.attempt, acquire.caller)
