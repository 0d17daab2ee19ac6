/* SPDX-License-Identifier: MIT */
/*
 * aioprocket._system._native: reading many packets by one system call, and
 * the object that a packet becomes.
 */
#include "module.h"
#include "packet.h"
#include "receiver.h"

static PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
	PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);

	if (type == NULL)
		return NULL;
	if (PyModule_AddType(module, (PyTypeObject *)type) < 0) {
		Py_DECREF(type);
		return NULL;
	}
	return (PyTypeObject *)type;
}

static int
module_exec(PyObject *module)
{
	struct module_state *state = PyModule_GetState(module);
	PyObject *match_args;
	int failed;

	state->packet_type = add_type(module, &packet_spec);
	if (state->packet_type == NULL)
		return -1;
	state->receiver_type = add_type(module, &receiver_spec);
	if (state->receiver_type == NULL)
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
	Py_VISIT(state->receiver_type);
	return 0;
}

static int
module_clear(PyObject *module)
{
	struct module_state *state = PyModule_GetState(module);

	Py_CLEAR(state->packet_type);
	Py_CLEAR(state->receiver_type);
	return 0;
}

static void
module_free(void *module)
{
	struct module_state *state = PyModule_GetState(module);

	module_clear(module);
	scratch_pool_drain(&state->scratch);
}

static PyModuleDef_Slot module_slots[] = {
	{Py_mod_exec, module_exec},
#ifdef Py_GIL_DISABLED
	{Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
	{0, NULL},
};

static struct PyModuleDef module_definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_native",
	.m_doc = "Receiving packets in batches.",
	.m_size = sizeof(struct module_state),
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
