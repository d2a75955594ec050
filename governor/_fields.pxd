"""The fields in C, and what compiled modules share. What a subclass in Python reads and writes is public."""


from cpython.object cimport Py_SIZE


cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1


cdef extern from *:
    """
    #if defined(__linux__)
    #include <time.h>
    static long long monotonic_microseconds(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    }
    #else
    static long long monotonic_microseconds(void) { return -1; }
    #endif
    """
    long long monotonic_microseconds() nogil


cdef inline long long read_clock(object clock, object system_clock) except? -1:
    """`clock()`. The clock of the system is read as `time.monotonic_ns` reads it, which is known for Linux."""
    cdef long long now = -1
    if clock is system_clock:
        now = monotonic_microseconds()
    return clock() if now < 0 else now


cdef inline bint has_any(object queue) noexcept:
    """`bool(queue)` of a list, a tuple or a deque, none of which is asked for it: each keeps its length in C."""
    return Py_SIZE(queue) != 0


cdef class FailureRun:
    cdef public long long failures


cdef class Counts:
    cdef public long long answered_2xx, others, requests


cdef class CapFields:
    cdef public long long latest, left, slot_ends


cdef class MarkFields:
    cdef public long long left


cdef class LimitFields:
    cdef public object parameters, ready


cdef class BucketFields(LimitFields):
    cdef public object plain, slack, ticks
    cdef long long _tat
    cdef object _large_tat  # None while it fits.
    cdef object _plain_read, _slack_read, _ticks_read  # What the numbers below are.
    cdef long long _plain, _slack, _ticks
    cdef bint _fits


cdef inline object tat_of(BucketFields bucket):
    return bucket._tat if bucket._large_tat is None else bucket._large_tat


cdef inline set_tat(BucketFields bucket, object tat):
    bucket._large_tat = None if fits(tat, &bucket._tat) else tat


cdef inline bint fits(object number, long long *kept) except -1:
    """Keeps a number if it fits into 64 bits."""
    cdef int overflow = 0
    cdef long long small = PyLong_AsLongLongAndOverflow(number, &overflow)
    if not overflow:
        kept[0] = small
    return not overflow


cdef inline bint has_small_numbers(BucketFields bucket) except -1:
    """Whether the numbers of the bucket fit into 64 bits, `_tat`, `_plain`, `_slack` and `_ticks`. The last three hardly change."""
    if bucket.plain is not bucket._plain_read or bucket.slack is not bucket._slack_read or bucket.ticks is not bucket._ticks_read:
        bucket._plain_read, bucket._slack_read, bucket._ticks_read = bucket.plain, bucket.slack, bucket.ticks
        bucket._fits = (
            fits(bucket.plain, &bucket._plain) and fits(bucket.slack, &bucket._slack) and fits(bucket.ticks, &bucket._ticks)
        )
    return bucket._fits and bucket._large_tat is None


cdef class Tally:
    cdef public long long left


cdef class PlacesFields:
    cdef public object clock, durations
    cdef public long long free
    cdef public bint closed


cdef class PermitSource:
    cdef public Tally answered
    cdef public Counts counters
    cdef public FailureRun degraded
    cdef public object failures, large, leased, successes
    cdef public bint gathers, listens
    cdef public long long thread

    cdef object granted(self, bint deny)  # `grab`, as compiled code calls it: a look for a `grab` in Python costs a third more.
