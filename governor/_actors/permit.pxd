"""Permits in C. The fields are public for the code in Python that finds out what became of a call."""

cimport cython

from governor._fields cimport PermitSource, has_any


cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil
    bint PyCFunction_CheckExact(object)


cdef inline long long this_thread(object get_ident) except? 0:
    """`get_ident()`. A library that replaces it, such as gevent, puts no built-in function in its place."""
    return <long long>PyThread_get_thread_ident() if PyCFunction_CheckExact(get_ident) else get_ident()


cdef inline PermitSource source_of(object owner):
    """The owner, if it is one whose fields are in C; others are interested in every outcome."""
    if isinstance(owner, PermitSource):
        return <PermitSource>owner
    return None


cdef object NOTHING, NOT_TOLD, get_ident  # Read without a look-up.


# Said here as well as in the source, for the modules that have subclasses.
@cython.no_gc
cdef class Permit:
    cdef public object _owner, _grant, _answered, watched
    cdef PermitSource _source
    cdef public long long _granted_at, _generation
    cdef public bint reported, _entered, _settled


@cython.no_gc
cdef class HeldPermit(Permit):
    pass


@cython.locals(permit=Permit)
cdef object new_permit(object make, PermitSource owner, long long granted_at, long long generation)
