"""The fields in C. What a subclass in Python reads and writes is public."""


cdef class FailureRun:
    cdef public long long failures


cdef class Counts:
    cdef public long long answered_2xx, requests


cdef class LifeState:
    cdef public object state


cdef class CapFields:
    cdef public long long latest, left, slot_ends


cdef class LimitFields:
    cdef public object parameters, ready


cdef class BucketFields(LimitFields):
    cdef public object plain, slack, tat, ticks


cdef class PermitSource:
    cdef public Counts counters
    cdef public FailureRun degraded
    cdef public object failures, large, pop_leased, successes
    cdef public bint listens
    cdef public long long thread
