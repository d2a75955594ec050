"""Permits that are granted ahead, in C."""

cimport cython

from governor._actors.permit cimport HeldPermit, Permit, this_thread
from governor._fields cimport PermitSource, PlacesFields, has_any, read_clock


cdef object NOT_TOLD, get_ident, system_clock  # Read without a look-up.


@cython.final
@cython.no_gc
cdef class LeasedPermit(Permit):
    pass


@cython.final
@cython.no_gc
cdef class LeasedHeldPermit(HeldPermit):
    cdef public PlacesFields _places


@cython.final
cdef class PermitsAhead:
    cdef PermitSource _owner
    cdef object _grant
    cdef long long _generation, _granted_at
    cdef readonly long long left

    @cython.locals(permit=Permit)
    cdef object take(self)


cdef inline object next_of(object leased):
    """`next(leased, None)`."""
    if type(leased) is PermitsAhead:
        return (<PermitsAhead>leased).take()
    return next(leased, None)
