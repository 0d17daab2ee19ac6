/* SPDX-License-Identifier: MIT */
/*
 * aioprocket._system._native: reading and sending many packets by one system
 * call, the object that a packet becomes, receiving descriptors, and one
 * system call that Python lacks.
 */
#include "module.h"

#include "backlog.h"
#include "batch_type.h"
#include "capture.h"
#include "coroutine.h"
#include "delivery.h"
#include "echo_frame.h"
#include "gatherer.h"
#include "iterator.h"
#include "moderation.h"
#include "moderator.h"
#include "packet.h"
#include "passing.h"
#include "reader.h"
#include "receiver.h"
#include "ring.h"
#include "sender.h"
#include "waiter.h"
#include "wakeup.h"

#include <errno.h>
#include <stdbool.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SETTLE_NANOSECONDS = 30000000 };

PyDoc_STRVAR(settle_doc,
	     "settle()\n--\n\n"
	     "Wait until packets that processors had in hand are in their queues.\n\n"
	     "A filter looks at a packet before it is queued: one that passed the\n"
	     "old filter may be queued after a new one was attached. Takes some\n"
	     "15 ms, without the GIL; 30 ms where the kernel cannot say (nohz_full,\n"
	     "a seccomp filter), which is then a good guess and no more.\n\n"
	     "Source: membarrier(2), MEMBARRIER_CMD_GLOBAL, which waits for a grace\n"
	     "period of RCU; packets are received within one.");

/* -1: with errno. */
static int
wait_for_packets(void)
{
	struct timespec left = {.tv_nsec = SETTLE_NANOSECONDS};

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EPERM)
		return -1;
	while (nanosleep(&left, &left))
		if (errno != EINTR)
			return -1;
	return 0;
}

static PyObject *
settle(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
	int failed;

	Py_BEGIN_ALLOW_THREADS
	failed = wait_for_packets();
	Py_END_ALLOW_THREADS
	if (failed)
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

PyDoc_STRVAR(read_block_doc,
	     "read_block(data, snaplen=4294967295, /)\n--\n\n"
	     "Return a Batch of what a copy of a TPACKET_V3 block holds.\n\n"
	     "What does not lie within data ends it: nothing else is read.");

static PyMethodDef module_methods[] = {
	{"capture_read", capture_read, METH_VARARGS, capture_read_doc},
	{"capture_write", capture_write, METH_VARARGS, capture_write_doc},
	{"read_block", batch_read_block, METH_VARARGS, read_block_doc},
	{"receive_passed", (PyCFunction)(void (*)(void))passing_receive,
	 METH_FASTCALL, passing_receive_doc},
	{"settle", settle, METH_NOARGS, settle_doc},
	{"socket_kind", (PyCFunction)(void (*)(void))passing_kind,
	 METH_FASTCALL, passing_kind_doc},
	{NULL, NULL, 0, NULL},
};

/* Public: others are made here only, and not to be found by name. */
static int
add_type(PyObject *module, PyType_Spec *spec, bool public, PyTypeObject **slot)
{
	*slot = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
	if (*slot == NULL)
		return -1;
	return public ? PyModule_AddType(module, *slot) : 0;
}

static int
find_method_type(struct module_state *state)
{
	PyObject *types = PyImport_ImportModule("types");

	if (types == NULL)
		return -1;
	state->method_type =
		(PyTypeObject *)PyObject_GetAttrString(types, "MethodType");
	Py_DECREF(types);
	state->method_func = PyUnicode_InternFromString("__func__");
	state->method_self = PyUnicode_InternFromString("__self__");
	return state->method_type != NULL && state->method_func != NULL &&
			       state->method_self != NULL
		       ? 0
		       : -1;
}

static int
module_exec(PyObject *module)
{
	struct module_state *state = PyModule_GetState(module);
	PyObject *match_args;
	int failed;

	if (add_type(module, &packet_spec, true, &state->packet_type) < 0 ||
	    add_type(module, &backlog_spec, true, &state->backlog_type) < 0 ||
	    add_type(module, &delivery_spec, true, &state->delivery_type) < 0 ||
	    add_type(module, &receiver_spec, true, &state->receiver_type) < 0 ||
	    add_type(module, &reader_spec, true, &state->reader_type) < 0 ||
	    add_type(module, &waiter_spec, true, &state->waiter_type) < 0 ||
	    add_type(module, &moderation_spec, true,
		     &state->moderation_type) < 0 ||
	    add_type(module, &moderator_spec, true,
		     &state->moderator_type) < 0 ||
	    add_type(module, &ring_spec, true, &state->ring_type) < 0 ||
	    add_type(module, &batch_spec, true, &state->batch_type) < 0 ||
	    add_type(module, &sender_spec, true, &state->sender_type) < 0 ||
	    add_type(module, &gatherer_spec, true, &state->gatherer_type) < 0 ||
	    add_type(module, &wakeup_spec, true, &state->wakeup_type) < 0 ||
	    add_type(module, &echo_spec, true, &state->echo_type) < 0 ||
	    add_type(module, &echo_group_spec, true, &state->echo_group_type) < 0 ||
	    add_type(module, &echo_watch_spec, true, &state->echo_watch_type) < 0 ||
	    add_type(module, &echo_table_spec, true, &state->echo_table_type) < 0 ||
	    add_type(module, &echo_frames_spec, true,
		     &state->echo_frames_type) < 0 ||
	    add_type(module, &coroutine_spec, false,
		     &state->coroutine_type) < 0 ||
	    add_type(module, &iterator_spec, false, &state->iterator_type) < 0 ||
	    add_type(module, &batch_iterator_spec, false,
		     &state->batch_iterator_type) < 0 ||
	    add_type(module, &column_spec, false, &state->column_type) < 0)
		return -1;
	state->slowly[ONE] = PyUnicode_InternFromString("_receive_slowly");
	state->slowly[NEXT] = PyUnicode_InternFromString("_next_slowly");
	state->slowly[LIST] = PyUnicode_InternFromString("_list_slowly");
	state->slowly[BATCH] = PyUnicode_InternFromString("_batch_slowly");
	state->woken = PyUnicode_InternFromString("_woken");
	state->settle = PyUnicode_InternFromString("_settle");
	state->data = PyUnicode_InternFromString("data");
	state->timestamp_ns = PyUnicode_InternFromString("timestamp_ns");
	for (int what = ONE; what <= BATCH; what++)
		if (state->slowly[what] == NULL)
			return -1;
	if (state->woken == NULL || state->settle == NULL ||
	    state->data == NULL || state->timestamp_ns == NULL)
		return -1;
	if (find_method_type(state) < 0)
		return -1;
	if (PyModule_AddIntConstant(module, "UNLOOKED", WAKEUP_UNLOOKED) < 0)
		return -1;
	match_args = Py_BuildValue("(ss)", "data", "addr");
	if (match_args == NULL)
		return -1;
	failed = PyObject_SetAttrString((PyObject *)state->packet_type,
					"__match_args__", match_args);
	Py_DECREF(match_args);
	return failed;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct module_state *state = PyModule_GetState(module);

	Py_VISIT(state->packet_type);
	Py_VISIT(state->backlog_type);
	Py_VISIT(state->delivery_type);
	Py_VISIT(state->receiver_type);
	Py_VISIT(state->ring_type);
	Py_VISIT(state->batch_type);
	Py_VISIT(state->batch_iterator_type);
	Py_VISIT(state->column_type);
	Py_VISIT(state->sender_type);
	Py_VISIT(state->gatherer_type);
	Py_VISIT(state->wakeup_type);
	Py_VISIT(state->echo_type);
	Py_VISIT(state->echo_group_type);
	Py_VISIT(state->echo_watch_type);
	Py_VISIT(state->echo_table_type);
	Py_VISIT(state->echo_frames_type);
	Py_VISIT(state->reader_type);
	Py_VISIT(state->waiter_type);
	Py_VISIT(state->moderation_type);
	Py_VISIT(state->moderator_type);
	Py_VISIT(state->coroutine_type);
	Py_VISIT(state->iterator_type);
	Py_VISIT(state->method_type);
	return 0;
}

static int
module_clear(PyObject *module)
{
	struct module_state *state = PyModule_GetState(module);

	Py_CLEAR(state->packet_type);
	Py_CLEAR(state->backlog_type);
	Py_CLEAR(state->delivery_type);
	Py_CLEAR(state->receiver_type);
	Py_CLEAR(state->ring_type);
	Py_CLEAR(state->batch_type);
	Py_CLEAR(state->batch_iterator_type);
	Py_CLEAR(state->column_type);
	Py_CLEAR(state->sender_type);
	Py_CLEAR(state->gatherer_type);
	Py_CLEAR(state->wakeup_type);
	Py_CLEAR(state->echo_type);
	Py_CLEAR(state->echo_group_type);
	Py_CLEAR(state->echo_watch_type);
	Py_CLEAR(state->echo_table_type);
	Py_CLEAR(state->echo_frames_type);
	Py_CLEAR(state->reader_type);
	Py_CLEAR(state->waiter_type);
	Py_CLEAR(state->moderation_type);
	Py_CLEAR(state->moderator_type);
	Py_CLEAR(state->coroutine_type);
	Py_CLEAR(state->iterator_type);
	for (int what = ONE; what <= BATCH; what++)
		Py_CLEAR(state->slowly[what]);
	Py_CLEAR(state->woken);
	Py_CLEAR(state->settle);
	Py_CLEAR(state->data);
	Py_CLEAR(state->timestamp_ns);
	Py_CLEAR(state->method_type);
	Py_CLEAR(state->method_func);
	Py_CLEAR(state->method_self);
	return 0;
}

static void
module_free(void *module)
{
	struct module_state *state = PyModule_GetState(module);

	module_clear(module);
	scratch_pool_drain(&state->scratch);
	arena_pool_drain(&state->arenas);
	columns_free_kept(state);
}

static PyModuleDef_Slot module_slots[] = {
	{Py_mod_exec, module_exec},
#ifdef Py_GIL_DISABLED
	/* Critical sections are there; that they suffice is not proven yet. */
	{Py_mod_gil, Py_MOD_GIL_USED},
#endif
	{0, NULL},
};

static struct PyModuleDef module_definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_native",
	.m_doc = "Receiving and sending packets in batches.",
	.m_size = sizeof(struct module_state),
	.m_methods = module_methods,
	.m_slots = module_slots,
	.m_traverse = module_traverse,
	.m_clear = module_clear,
	.m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC
PyInit__native(void)
{
	return PyModuleDef_Init(&module_definition);
}
