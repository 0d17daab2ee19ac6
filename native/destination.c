/* SPDX-License-Identifier: MIT */
/*
 * Python values as socket addresses, in the plain forms alone: numeric hosts,
 * exact types.  All others are left to the socket module, which also knows
 * what to say of a wrong one.
 */
#include "destination.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/ioctl.h>

enum { MAX_PORT = 0xffff, MAX_FLOWINFO = 0xfffff, MAX_HARDWARE_TYPE = 0xffff };

/* 0 for families whose addresses are not encoded here. */
socklen_t
destination_size(int family)
{
	switch (family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	case AF_PACKET:
		return sizeof(struct sockaddr_ll);
	default:
		return 0;
	}
}

/* Element number index of a tuple, or 0 where the tuple is shorter. */
static bool
read_number(PyObject *tuple, Py_ssize_t index, unsigned long largest,
	    unsigned long *number)
{
	PyObject *element;

	*number = 0;
	if (index >= PyTuple_Size(tuple))
		return true;
	element = PyTuple_GetItem(tuple, index);
	if (!PyLong_Check(element))
		return false;
	*number = PyLong_AsUnsignedLong(element);
	/* Negative and huge ones also give the largest, with an exception. */
	if (*number <= largest && *number != (unsigned long)-1)
		return true;
	PyErr_Clear();
	return false;
}

static const char *
read_text(PyObject *tuple)
{
	PyObject *element = PyTuple_GetItem(tuple, 0);
	const char *text;
	Py_ssize_t length;

	if (!PyUnicode_Check(element))
		return NULL;
	text = PyUnicode_AsUTF8AndSize(element, &length);
	if (text == NULL) {
		PyErr_Clear();
		return NULL;
	}
	return strlen(text) == (size_t)length ? text : NULL;
}

/* (host, port) */
static bool
encode_inet(struct sockaddr_in *name, PyObject *tuple)
{
	const char *host = read_text(tuple);
	unsigned long port;

	if (host == NULL || PyTuple_Size(tuple) != 2 ||
	    !read_number(tuple, 1, MAX_PORT, &port) ||
	    inet_pton(AF_INET, host, &name->sin_addr) != 1)
		return false;
	name->sin_family = AF_INET;
	name->sin_port = htons((uint16_t)port);
	return true;
}

/* (host, port), (…, flowinfo), (…, scope_id) */
static bool
encode_inet6(struct sockaddr_in6 *name, PyObject *tuple)
{
	const char *host = read_text(tuple);
	unsigned long port, flowinfo, scope;

	if (host == NULL || PyTuple_Size(tuple) < 2 || PyTuple_Size(tuple) > 4 ||
	    !read_number(tuple, 1, MAX_PORT, &port) ||
	    !read_number(tuple, 2, MAX_FLOWINFO, &flowinfo) ||
	    !read_number(tuple, 3, UINT32_MAX, &scope) ||
	    inet_pton(AF_INET6, host, &name->sin6_addr) != 1)
		return false;
	name->sin6_family = AF_INET6;
	name->sin6_port = htons((uint16_t)port);
	name->sin6_flowinfo = htonl((uint32_t)flowinfo);
	name->sin6_scope_id = (uint32_t)scope;
	return true;
}

static bool
find_interface(int fd, const char *name, struct ifindex_cache *cache)
{
	struct ifreq request = {0};

	if (strlen(name) >= sizeof(request.ifr_name))
		return false;
	if (cache->ifindex != 0 && strcmp(cache->name, name) == 0)
		return true;
	strcpy(request.ifr_name, name);
	if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return false;
	strcpy(cache->name, name);
	cache->ifindex = request.ifr_ifindex;
	return true;
}

static bool
read_hardware_address(struct sockaddr_ll *name, PyObject *tuple)
{
	PyObject *element;
	Py_ssize_t length;
	char *bytes;

	if (PyTuple_Size(tuple) < 5)
		return true;
	element = PyTuple_GetItem(tuple, 4);
	if (!PyBytes_Check(element) ||
	    PyBytes_AsStringAndSize(element, &bytes, &length) < 0 ||
	    (size_t)length > sizeof(name->sll_addr))
		return false;
	memcpy(name->sll_addr, bytes, (size_t)length);
	name->sll_halen = (unsigned char)length;
	return true;
}

/* (ifname, protocol), (…, pkttype), (…, hatype), (…, address) */
static bool
encode_packet(struct sockaddr_ll *name, int fd, PyObject *tuple,
	      struct ifindex_cache *cache)
{
	const char *ifname = read_text(tuple);
	unsigned long protocol, pkttype, hatype;

	if (ifname == NULL || PyTuple_Size(tuple) < 2 ||
	    PyTuple_Size(tuple) > 5 ||
	    !read_number(tuple, 1, UINT16_MAX, &protocol) ||
	    !read_number(tuple, 2, UINT8_MAX, &pkttype) ||
	    !read_number(tuple, 3, MAX_HARDWARE_TYPE, &hatype) ||
	    !read_hardware_address(name, tuple) ||
	    !find_interface(fd, ifname, cache))
		return false;
	name->sll_family = AF_PACKET;
	name->sll_protocol = htons((uint16_t)protocol);
	name->sll_ifindex = cache->ifindex;
	name->sll_pkttype = (unsigned char)pkttype;
	name->sll_hatype = (unsigned short)hatype;
	return true;
}

/* How long the address is; 0 if the socket module has to deal with it. */
socklen_t
destination_encode(union address *address, int fd, int family, PyObject *value,
		   struct ifindex_cache *cache)
{
	bool plain = false;

	if (!PyTuple_Check(value) || PyTuple_Size(value) == 0)
		return 0;
	memset(address, 0, sizeof(*address));
	switch (family) {
	case AF_INET:
		plain = encode_inet(&address->inet, value);
		break;
	case AF_INET6:
		plain = encode_inet6(&address->inet6, value);
		break;
	case AF_PACKET:
		plain = encode_packet(&address->packet, fd, value, cache);
		break;
	default:
		break;
	}
	return plain ? destination_size(family) : 0;
}

/*
 * As destination_encode(), of an inet socket's addresses, whose meaning does
 * not change with time as that of an interface's name does.
 */
socklen_t
destination_find(struct known_destinations **known, int family, PyObject *addr,
		 union address *name)
{
	size_t at = ((uintptr_t)addr >> 4) % KNOWN_DESTINATIONS;
	struct ifindex_cache no_interface = {.ifindex = 0};
	socklen_t length;

	if ((family != AF_INET && family != AF_INET6) ||
	    !PyTuple_CheckExact(addr))
		return 0;
	if (*known == NULL)
		*known = PyMem_Calloc(1, sizeof(**known));
	if (*known == NULL)
		return 0;
	if ((*known)->entries[at].addr == addr) {
		*name = (*known)->entries[at].name;
		return destination_size(family);
	}
	length = destination_encode(name, -1, family, addr, &no_interface);
	if (length > 0) {
		Py_XDECREF((*known)->entries[at].addr);
		(*known)->entries[at].addr = Py_NewRef(addr);
		(*known)->entries[at].name = *name;
	}
	return length;
}

void
destination_forget(struct known_destinations *known)
{
	if (known == NULL)
		return;
	for (int i = 0; i < KNOWN_DESTINATIONS; i++)
		Py_XDECREF(known->entries[i].addr);
	PyMem_Free(known);
}
