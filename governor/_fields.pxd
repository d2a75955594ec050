"""The fields in C. What a subclass in Python reads and writes is public."""


cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1


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
    cdef public object plain, slack, ticks
    cdef long long _tat
    cdef object _large_tat


cdef inline object tat_of(BucketFields bucket):
    return bucket._tat if bucket._large_tat is None else bucket._large_tat


cdef inline set_tat(BucketFields bucket, object tat):
    cdef int is_large = 0
    cdef long long small = PyLong_AsLongLongAndOverflow(tat, &is_large)
    if is_large:
        bucket._large_tat = tat
    else:
        bucket._tat = small
        bucket._large_tat = None


cdef class PermitSource:
    cdef public Counts counters
    cdef public FailureRun degraded
    cdef public object failures, large, pop_leased, successes
    cdef public bint listens
    cdef public long long thread
