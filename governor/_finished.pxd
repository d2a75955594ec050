"""Finished coroutines in C."""

cimport cython

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF


cdef extern from "Python.h":
    void PyErr_SetObject(object kind, object value)


cdef extern from *:
    """
    /* How `await` asks for a result. Up to CPython 3.11 it takes one that is sent; later ones, and other callers, take it out of
       a StopIteration, which would have a traceback if it were raised in Cython: that costs more than all else. */
    static void set_slots(PyTypeObject *type, iternextfunc next, sendfunc send) {
        type->tp_iternext = next;
        type->tp_as_async->am_send = send;
        PyType_Modified(type);
    }
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
    ctypedef PyObject *(*iternextfunc)(object) noexcept
    ctypedef PySendResult (*sendfunc)(object, object, PyObject **) noexcept
    void set_slots(PyTypeObject *type, iternextfunc next, sendfunc send)


cdef class Finished:
    cdef object _result


cdef inline PyObject *raise_result(object finished) noexcept:
    if (<Finished>finished)._result is not None:  # Without an error it has ended without a result.
        PyErr_SetObject(StopIteration, (<Finished>finished)._result)
    return NULL


cdef inline PySendResult send_result(object finished, object value, PyObject **result) noexcept:
    result[0] = <PyObject *>(<Finished>finished)._result
    Py_INCREF((<Finished>finished)._result)
    return PYGEN_RETURN


cdef inline void end_at_once(object kind):
    """`Finished.__next__`, without a traceback."""
    set_slots(<PyTypeObject *>kind, raise_result, send_result)


@cython.locals(made=Finished)
cdef Finished finished(object result)
