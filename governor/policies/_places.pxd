"""Places of calls in flight, in C."""

cimport cython

from governor._fields cimport LimitFields


@cython.final
cdef class UsualDuration:
    cdef public long long deviation, mean

    @cython.locals(mean="long long")
    cpdef measure(self, long long took)

    @cython.locals(took="long long", mean="long long", deviation="long long")
    cpdef measure_all(self, object durations)


cdef class PlacesInFlight(LimitFields):
    cdef public long long _amount, _held, _under_way
    cdef public bint _measures
    cdef public list _given_up
    cdef public UsualDuration _usual

    cpdef long long spend(self, long long now, long long cost) except? -1

    @cython.locals(took="long long", mean="long long", under_way="long long", usual=UsualDuration)
    cpdef bint succeed(self, long long now, long long granted_at) except -1
