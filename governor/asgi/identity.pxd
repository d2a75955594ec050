"""The identity of clients, in C."""

cimport cython


cdef class ClientKeys:
    cdef public object _prefix, _proxies, _pseudonyms
    cdef public dict _direct, _known, _peers, _proxied, _ranks
    cdef public bint _claims_stand_alone, _proxy_claims_stand_alone
    cdef public long long _first_session, _unranked

    @cython.locals(ranks=dict, best="long long", is_actor=bint)
    cpdef object request(self, object scope)
