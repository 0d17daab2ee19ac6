/* SPDX-License-Identifier: MIT */
#include "ifnames.h"

#include <net/if.h>
#include <sys/ioctl.h>

static PyObject *
resolve(int fd, int ifindex)
{
	struct ifreq request = {.ifr_ifindex = ifindex};

	/*
	 * On the descriptor, not by if_indextoname(): the socket may live in
	 * another network namespace than we do.
	 */
	if (ifindex == 0 || ioctl(fd, SIOCGIFNAME, &request) < 0)
		request.ifr_name[0] = '\0';
	return PyUnicode_DecodeFSDefault(request.ifr_name);
}

/*
 * A new reference to a str, empty when there is no such interface any more.
 * The table is made when it is first needed.
 */
PyObject *
ifnames_get(struct ifnames **names, int fd, int ifindex)
{
	unsigned int at = (unsigned int)ifindex % IFNAMES_SIZE;
	PyObject *ifname;

	if (*names == NULL)
		*names = PyMem_Calloc(1, sizeof(**names));
	if (*names == NULL)
		return PyErr_NoMemory();
	ifname = (*names)->entries[at].ifname;
	if (ifname == NULL || (*names)->entries[at].ifindex != ifindex) {
		Py_XDECREF(ifname);
		ifname = resolve(fd, ifindex);
		(*names)->entries[at].ifname = ifname;
		(*names)->entries[at].ifindex = ifindex;
	}
	Py_XINCREF(ifname);
	return ifname;
}

void
ifnames_free(struct ifnames *names)
{
	if (names == NULL)
		return;
	for (int i = 0; i < IFNAMES_SIZE; i++)
		Py_XDECREF(names->entries[i].ifname);
	PyMem_Free(names);
}
