"""Plain spending in C."""

cimport cython
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_SIZE

from governor._fields cimport BucketFields, CapFields, has_small_numbers
from governor.policies._places cimport PlacesInFlight
from governor.policies.windows._uses cimport WindowUses


cdef enum:
    MOST = 4  # The buckets of a scope that are spent in at once.


cdef extern from "Python.h":
    PyObject *PyTuple_GET_ITEM(object, Py_ssize_t)  # A borrowed reference: to count it costs as much as to spend.


cdef extern from *:
    """
    #if defined(__GNUC__)
    #define overflows_mul(a, b, out) __builtin_mul_overflow(a, b, out)
    #define overflows_add(a, b, out) __builtin_add_overflow(a, b, out)
    #define overflows_sub(a, b, out) __builtin_sub_overflow(a, b, out)
    #else
    #define overflows_mul(a, b, out) (*(out) = 0, 1)
    #define overflows_add(a, b, out) (*(out) = 0, 1)
    #define overflows_sub(a, b, out) (*(out) = 0, 1)
    #endif
    """
    bint overflows_mul(long long a, long long b, long long *out) nogil
    bint overflows_add(long long a, long long b, long long *out) nogil
    bint overflows_sub(long long a, long long b, long long *out) nogil


cdef inline bint spent_in_64_bits(long long now, BucketFields bucket) except -1:
    """Takes a plain request out of the bucket, as below. False, and nothing has changed, if a number is too large for that, or
    if it was the last that the bucket holds.
    """
    cdef long long tat, full, ahead
    if not has_small_numbers(bucket) or overflows_mul(now, bucket._ticks, &full):
        return False
    if overflows_add(bucket._tat if bucket._tat > full else full, bucket._plain, &tat):
        return False
    if overflows_sub(tat, full, &ahead) or ahead > bucket._slack:
        return False
    bucket._tat = tat
    return True


cdef inline bint spent_in_buckets(PlainSpending spending, long long now) except -1:
    """Takes a plain request out of up to `MOST` buckets, if nothing else is to be spent. False, and nothing has changed, if not."""
    cdef long long[MOST] before
    cdef PyObject *bucket
    cdef Py_ssize_t spent = 0
    cdef Py_ssize_t buckets = PyTuple_GET_SIZE(spending._buckets)
    if spending._others or spending._awaiting or buckets > MOST:
        return False
    while spent < buckets:
        bucket = PyTuple_GET_ITEM(spending._buckets, spent)
        before[spent] = (<BucketFields>bucket)._tat
        if not spent_in_64_bits(now, <BucketFields>bucket):
            while spent:
                spent -= 1
                bucket = PyTuple_GET_ITEM(spending._buckets, spent)
                (<BucketFields>bucket)._tat = before[spent]
            return False
        spent += 1
    return True


cdef inline bint spent_at_once(BucketFields only, PlainSpending spending, CapFields cap, long long now) except -1:
    """Spends the request, as `commit`, if that takes no Python call. False, and nothing has changed, if it does.

    `only` is the single bucket of the scope. If it has something else, `spending` is what it has, once that is there.
    """
    if not cap.left or now >= cap.slot_ends:
        return False
    if only is not None:
        if not spent_in_64_bits(now, only):
            return False
    elif spending is None or not spent_in_buckets(spending, now):
        return False
    cap.left -= 1
    if now > cap.latest:
        cap.latest = now
    return True


cdef inline long long spend_one(object limit, long long now) except? -1:
    """`limit.spend(now, 1)`."""
    if isinstance(limit, WindowUses):
        return (<WindowUses>limit).spend(now, 1)
    return (<PlacesInFlight>limit).spend(now, 1)


cdef class PlainSpending:
    cdef tuple _awaiting, _buckets, _others
    cdef public tuple limits
    cdef CapFields _cap

    @cython.locals(bucket=BucketFields, cap=CapFields, left="long long", ready="long long", until="long long")
    cpdef long long commit(self, long long now) except? -1
