"""What reads successes in place, in C."""

cimport cython

from governor._actors.granting cimport Granting
from governor._actors.lifecycle cimport Lifecycle
from governor._actors.permit cimport Permit, this_thread
from governor._fields cimport read_clock
from governor.policies.calm cimport Calm, succeeded


cdef object BUSY, IDLE, get_ident, system_clock  # Read without a look-up.


cdef class InPlace(Granting):
    cdef public Calm calm
    cdef public bint looked

    @cython.locals(now="long long", life=Lifecycle, calm=Calm, goes_on=bint)
    cpdef bint succeed(self, Permit permit, long long granted_at, long long generation, object status) except -1
