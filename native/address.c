/* SPDX-License-Identifier: MIT */
/*
 * Socket addresses as Python values, each equal to what the socket module's
 * recvfrom() gives for it.
 */
#include "address.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <sys/un.h>

static PyObject *
build_inet(const struct sockaddr_in *name)
{
	char text[INET_ADDRSTRLEN];

	if (inet_ntop(AF_INET, &name->sin_addr, text, sizeof(text)) == NULL)
		return PyErr_SetFromErrno(PyExc_OSError);
	return Py_BuildValue("(si)", text, (int)ntohs(name->sin_port));
}

static PyObject *
build_inet6(const struct sockaddr_in6 *name)
{
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(AF_INET6, &name->sin6_addr, text, sizeof(text)) == NULL)
		return PyErr_SetFromErrno(PyExc_OSError);
	return Py_BuildValue("(siII)", text, (int)ntohs(name->sin6_port),
			     (unsigned int)ntohl(name->sin6_flowinfo),
			     (unsigned int)name->sin6_scope_id);
}

static PyObject *
build_packet(const union address *address, PyObject *ifname)
{
	const struct sockaddr_ll *name = &address->packet;
	const size_t start = offsetof(struct sockaddr_ll, sll_addr);
	size_t length = name->sll_halen;

	if (length > sizeof(address->raw) - start)
		length = sizeof(address->raw) - start;
	return Py_BuildValue("(Oiiiy#)", ifname, (int)ntohs(name->sll_protocol),
			     (int)name->sll_pkttype, (int)name->sll_hatype,
			     (const char *)address->raw + start,
			     (Py_ssize_t)length);
}

/*
 * ifname is the str for an AF_PACKET address and may be NULL for others.
 * None for no address and for families that nobody here reads.
 */
PyObject *
address_build(const union address *address, PyObject *ifname)
{
	switch (address->family) {
	case AF_INET:
		return build_inet(&address->inet);
	case AF_INET6:
		return build_inet6(&address->inet6);
	case AF_PACKET:
		return build_packet(address, ifname);
	case AF_NETLINK:
		return Py_BuildValue("(II)",
				     (unsigned int)address->netlink.nl_pid,
				     (unsigned int)address->netlink.nl_groups);
	default:
		Py_RETURN_NONE;
	}
}

/* str for a path, bytes for a name in the abstract namespace (unix(7)). */
PyObject *
address_build_unix(const void *name, size_t length)
{
	const size_t start = offsetof(struct sockaddr_un, sun_path);
	const char *path = (const char *)name + start;

	if (length <= start)
		Py_RETURN_NONE;
	length -= start;
	if (path[0] == '\0')
		return PyBytes_FromStringAndSize(path, (Py_ssize_t)length);
	/* The kernel counts the terminating NUL, when the binder gave one. */
	return PyUnicode_DecodeFSDefaultAndSize(
		path, (Py_ssize_t)strnlen(path, length));
}
