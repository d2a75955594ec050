"""Token buckets of clients, in C. The numbers of a limit are kept in 64 bits as well, if all of them fit."""

cimport cython

from governor._fields cimport fits
from governor.policies.plain cimport overflows_add, overflows_mul, overflows_sub


cdef class ClientBuckets:
    cdef public object max_clients, parameters, _arithmetic, _max_assumed, _per_table, _step, _ticks, _tolerance, _walk
    cdef public list _dropped, _floors, _tables
    cdef long long _small_step, _small_ticks, _small_tolerance
    cdef bint _fits


cdef inline int keep_small_numbers(ClientBuckets table) except -1:
    table._fits = (
        fits(table._ticks, &table._small_ticks)
        and fits(table._step, &table._small_step)
        and fits(table._tolerance, &table._small_tolerance)
    )
    return 0


cdef inline bint holds_in_64_bits(
    long long now, ClientBuckets table, dict entries, bytes key, object known, long long cost, bint spends
) except -1:
    """Whether the bucket of a client whose TAT is `known` holds the request, as below. Takes it out if it does and `spends`.
    False, and nothing has changed, if a number is too large to say.
    """
    cdef long long full, tat, spent, ahead
    if not table._fits or not fits(known, &tat) or overflows_mul(now, table._small_ticks, &full):
        return False
    if tat < full:
        tat = full
    if overflows_mul(cost, table._small_step, &spent) or overflows_add(tat, spent, &tat) or overflows_sub(tat, full, &ahead):
        return False
    if ahead > table._small_tolerance:
        return False
    if spends:
        entries[key] = tat
    return True


@cython.locals(rule=tuple, table=ClientBuckets, entries=dict, key=bytes, before=list)
cpdef object spend(long long now, tuple rules, tuple keys, long long cost=*)

@cython.locals(table=ClientBuckets, key=bytes)
cdef object _restore(tuple rules, tuple keys, list before)
