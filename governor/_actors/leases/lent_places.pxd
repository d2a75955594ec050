"""Places in flight that are lent to threads, in C."""

cimport cython

from governor._actors.leases.permits_ahead cimport LentPermit, PermitsAhead
from governor._fields cimport PlacesFields, read_clock


cdef object system_clock  # Read without a look-up.


@cython.final
cdef class LentPlaces(PlacesFields):
    cdef object _owner
    cdef readonly long long generation
    cdef public PermitsAhead permits
    cdef bint _dated

    @cython.locals(now="long long", permit=LentPermit)
    cpdef take(self)

    cpdef give_back(self)

    cdef bint _found(self)
