"""What grants plain requests, in C."""

cimport cython

from governor._actors.lifecycle cimport Lifecycle
from governor._actors.permit cimport Permit, new_permit
from governor._fields cimport BucketFields, CapFields, MarkFields, PermitSource, has_any, read_clock
from governor.policies.plain cimport PlainSpending, spent_at_once


cdef inline object seconds_of(long long span, object to_seconds):
    """`to_seconds(span)`. Both are exact to the last bit while a float has room for the span."""
    return <double>span / 1000000. if -(1LL << 53) < span < 1LL << 53 else to_seconds(span)


cdef object BUSY, IDLE, system_clock  # Read without a look-up.


cdef class Granting(PermitSource):
    cdef public object _clock, _common, _leasing, _make, _reason, _steps, inbox, ledger, scope, unread
    cdef public BucketFields _bucket
    cdef public CapFields _cap
    cdef public Lifecycle life
    cdef public MarkFields _mark
    cdef public PlainSpending _spending
    cdef public tuple _shared
    cdef public bint _extra, _watched
    cdef public long long _generation, gate

    @cython.locals(
        now="long long", left="long long", ready="long long", cap=CapFields, life=Lifecycle, mark=MarkFields, spending=PlainSpending
    )
    cdef object granted(self, bint deny)

    @cython.locals(gate="long long", counts=dict)
    cpdef object _deny(self, long long now)
