"""Places in flight that are leased to threads, in C."""

cimport cython

from governor._actors.leases.permits_ahead cimport LeasedHeldPermit, PermitsAhead
from governor._fields cimport PlacesFields, read_clock


cdef object system_clock  # Read without a look-up.


@cython.final
cdef class LeasedPlaces(PlacesFields):
    cdef object _owner
    cdef readonly long long generation
    cdef public PermitsAhead permits
    cdef bint _dated

    @cython.locals(now="long long", permit=LeasedHeldPermit)
    cpdef take(self)

    cpdef give_back(self)

    cdef bint _found(self)
