"""Admission to an inbound group, in C."""

cimport cython

from governor._fields cimport Counts, read_clock
from governor.policies.clients.buckets cimport spend


cdef class Admitting:
    cdef public object end, most_denied, name, settings, unenforced, _announcer, _now
    cdef public dict denied_by, _held, _names, _tiers
    cdef public list _routes, _uncounted
    cdef public tuple ends, _buckets, _rules
    cdef public Counts _counters
    cdef public bint holds, _unswept

    @cython.locals(now="long long", buckets=tuple, keys=tuple)
    cpdef object admit(self, object request)
