/* SPDX-License-Identifier: MIT */
/* From what a caller names to where a probe goes. */
#include "echo_table.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

/* Multicast, or the broadcast address of every network. */
static bool
is_for_many(const unsigned char *address, uint8_t version)
{
	if (version == 6)
		return address[0] == 0xff;
	return address[0] >> 4 == 14 ||
	       memcmp(address, "\xff\xff\xff\xff", 4) == 0;
}

static int
read_text(const struct echo_table *table, PyObject *item,
	  struct echo_target *target)
{
	Py_ssize_t length;
	const char *text = PyUnicode_AsUTF8AndSize(item, &length);

	if (text == NULL) {
		PyErr_Clear();	/* a lone surrogate: no address, in any case */
		return 0;
	}
	if (strlen(text) != (size_t)length ||
	    inet_pton(table->version == 4 ? AF_INET : AF_INET6, text,
		      target->address) != 1)
		return 0;
	target->host = item;
	return 1;
}

static int
read_packed(const struct echo_table *table, PyObject *item,
	    struct echo_target *target)
{
	char *packed;
	Py_ssize_t length;

	if (PyBytes_AsStringAndSize(item, &packed, &length) < 0)
		return -1;
	if ((size_t)length != echo_address_length(table))
		return 0;
	memcpy(target->address, packed, (size_t)length);
	return 1;
}

/* (host, packed, scope) */
static int
read_tuple(const struct echo_table *table, PyObject *item,
	   struct echo_target *target)
{
	PyObject *host, *packed;
	unsigned int scope;

	if (!PyArg_ParseTuple(item, "USI", &host, &packed, &scope))
		return -1;
	if (PyUnicode_GetLength(host) > 0)
		target->host = host;
	target->scope = scope;
	return read_packed(table, packed, target);
}

/* The probe after one that has had its end. */
static int
read_echo(const struct echo_table *table, PyObject *item,
	  struct echo_target *target)
{
	const struct echo *echo = (struct echo *)item;

	if (echo->version != table->version)
		return 0;
	memcpy(target->address, echo->address, ECHO_ADDRESS);
	target->host = echo->host;
	target->scope = echo->scope;
	target->sequence = echo->sequence + 1;
	return 1;
}

/* The next probe to a host that is watched. */
static int
read_watch(const struct echo_table *table, PyObject *item,
	   struct echo_target *target)
{
	struct echo_watch *watch = (struct echo_watch *)item;

	if (watch->version != table->version)
		return 0;
	memcpy(target->address, watch->address, ECHO_ADDRESS);
	target->host = watch->host;
	target->watch = watch;
	target->scope = watch->scope;
	target->sequence = watch->sequence;
	return 1;
}

/*
 * 1: target is filled in, its sequence but for an Echo and a watch left as it is; 0: the
 * item is of the other version, a name, or for many hosts; -1 with an
 * exception.
 */
int
echo_read_item(const struct echo_table *table, const struct echo_group *group,
	       PyObject *item, struct echo_target *target)
{
	int found;

	target->host = NULL;
	target->watch = NULL;
	target->scope = 0;
	memset(target->address, 0, ECHO_ADDRESS);
	if (PyUnicode_Check(item))
		found = read_text(table, item, target);
	else if (PyBytes_Check(item))
		found = read_packed(table, item, target);
	else if (PyTuple_Check(item))
		found = read_tuple(table, item, target);
	else if (PyObject_TypeCheck(item, table->state->echo_watch_type))
		found = read_watch(table, item, target);
	else if (PyObject_TypeCheck(item, table->state->echo_type))
		found = read_echo(table, item, target);
	else
		return 0;
	if (found == 1 && !group->anybody &&
	    is_for_many(target->address, table->version))
		return 0;
	return found;
}
