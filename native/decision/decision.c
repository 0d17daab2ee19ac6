/* SPDX-License-Identifier: MIT */
/*
 * aioprocket.policy._decision: the helper's own reading of a policy, and its
 * own decision, for those who want to know beforehand.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#include "../../helper/policy.h"

/* Too large for the stack; each call has its own. */
struct trial {
	struct policy policy;
	struct request request;
	struct caller caller;
	struct site site;
	gid_t groups[];
};

PyDoc_STRVAR(find_fault_doc,
	     "find_fault(text, /)\n--\n\n"
	     "What is wrong with the text of a policy: line and words; None: nothing.\n\n"
	     "Line 0 is the text as a whole.");

static PyObject *
find_fault(PyObject *Py_UNUSED(module), PyObject *args)
{
	struct policy *policy;
	PyObject *found = NULL;
	const char *text;
	Py_ssize_t size;

	if (!PyArg_ParseTuple(args, "y#:find_fault", &text, &size))
		return NULL;
	policy = PyMem_Malloc(sizeof(*policy));
	if (policy == NULL)
		return PyErr_NoMemory();
	if (policy_parse(policy, text, (size_t)size))
		found = Py_BuildValue("(Is)", policy->fault_line, policy->fault);
	PyMem_Free(policy);
	if (found != NULL || PyErr_Occurred())
		return found;
	Py_RETURN_NONE;
}

PyDoc_STRVAR(decide_doc,
	     "decide(text, request, mode, uid, groups, for_all=False, own=False,\n"
	     "       namespace=None)\n--\n\n"
	     "What the helper would say to a request: reason, line of the rule, flags.\n\n"
	     "The reason is that of PROTOCOL.md, 0 where it is granted. The line is that\n"
	     "of the rule which grants it, or 0: root, no rule. The flags are those of\n"
	     "the request with all that the rule imposes.\n\n"
	     "Args:\n"
	     "    text: None: there is no file.\n"
	     "    request: An OPEN, as it is on the wire.\n"
	     "    mode: The number of PROTOCOL.md.\n"
	     "    uid: Of the caller.\n"
	     "    groups: The caller's groups, the primary one among them.\n"
	     "    for_all: Everybody may execute the helper.\n"
	     "    own: The request's namespace is the caller's own.\n"
	     "    namespace: Its path, as a rule names it.\n\n"
	     "Raises:\n"
	     "    ValueError: It is no OPEN.");

static int
read_groups(PyObject *groups, struct trial *trial)
{
	for (size_t i = 0; i < trial->caller.group_count; i++) {
		PyObject *each = PySequence_GetItem(groups, (Py_ssize_t)i);
		unsigned long group;

		if (each == NULL)
			return -1;
		group = PyLong_AsUnsignedLong(each);
		Py_DECREF(each);
		if (PyErr_Occurred())
			return -1;
		trial->groups[i] = (gid_t)group;
	}
	trial->caller.groups = trial->groups;
	return 0;
}

static void
find_site(struct trial *trial, int own, const char *namespace)
{
	trial->site = (struct site){0};
	if (!(trial->request.flags & FLAG_NAMESPACE)) {
		trial->site.places = PLACE_HOST;
		return;
	}
	if (own)
		trial->site.places = PLACE_OWN;
	for (size_t i = 0; namespace != NULL && i < trial->policy.namespace_count; i++)
		if (strcmp(trial->policy.namespaces[i].path, namespace) == 0)
			trial->site.namespaces = 1U << i;
}

static PyObject *
try_it(struct trial *trial)
{
	struct verdict_of_policy verdict;

	policy_begin(&trial->policy, &trial->caller);
	verdict = policy_decide(&trial->policy, &trial->caller, &trial->site,
				&trial->request);
	return Py_BuildValue("(iII)", (int)verdict.reason,
			     verdict.reason == REASON_NONE && verdict.rule ?
				     verdict.rule->line : 0,
			     trial->request.flags);
}

static PyObject *
decide(PyObject *Py_UNUSED(module), PyObject *args, PyObject *keywords)
{
	static char *names[] = {"text", "request", "mode", "uid", "groups",
				"for_all", "own", "namespace", NULL};
	const char *text, *message, *namespace = NULL;
	Py_ssize_t text_size, message_size, group_count;
	PyObject *groups, *found = NULL;
	int mode, for_all = 0, own = 0;
	unsigned int uid;
	struct reply reply;
	struct trial *trial;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "z#y#iIO|ppz:decide", names,
					 &text, &text_size, &message, &message_size,
					 &mode, &uid, &groups, &for_all, &own,
					 &namespace))
		return NULL;
	group_count = PySequence_Size(groups);
	if (group_count < 0)
		return NULL;
	trial = PyMem_Malloc(sizeof(*trial) + (size_t)group_count * sizeof(gid_t));
	if (trial == NULL)
		return PyErr_NoMemory();
	trial->caller = (struct caller){.mode = (enum mode)mode,
					.known = true,
					.uid = uid,
					.group_count = (size_t)group_count,
					.file_safe = true,
					.file_for_all = for_all != 0};
	if (text == NULL)
		policy_use_built_in(&trial->policy);
	else
		(void)!policy_parse(&trial->policy, text, (size_t)text_size);
	if (request_decode((const uint8_t *)message, (size_t)message_size,
			   &trial->request, &reply) != VERDICT_GOOD ||
	    trial->request.op != OP_OPEN) {
		PyErr_SetString(PyExc_ValueError, "no OPEN");
	} else if (read_groups(groups, trial) == 0) {
		find_site(trial, own, namespace);
		found = try_it(trial);
	}
	PyMem_Free(trial);
	return found;
}

static PyMethodDef methods[] = {
	{"find_fault", find_fault, METH_VARARGS, find_fault_doc},
	{"decide", (PyCFunction)(void (*)(void))decide, METH_VARARGS | METH_KEYWORDS,
	 decide_doc},
	{NULL, NULL, 0, NULL},
};

static int
module_exec(PyObject *module)
{
	return PyModule_AddStringConstant(module, "BUILT_IN", policy_built_in);
}

static PyModuleDef_Slot slots[] = {
	{Py_mod_exec, module_exec},
#ifdef Py_GIL_DISABLED
	{Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
	{0, NULL},
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "_decision",
	.m_doc = "The helper's decision, by the helper's own code.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__decision(void);

PyMODINIT_FUNC
PyInit__decision(void)
{
	return PyModuleDef_Init(&definition);
}
