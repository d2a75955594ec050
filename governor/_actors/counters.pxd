"""The counters of an actor, in C."""

from governor._fields cimport Counts


cdef class Counters(Counts):
    cdef public long long answered_4xx, answered_5xx, answered_429, failures, neutral, retries
    cdef public object denied, dropped, last_failure
