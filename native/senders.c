/* SPDX-License-Identifier: MIT */
#include "senders.h"

#include <string.h>

/* Multiplication spreads what addresses of one network differ in: little. */
static unsigned int
place_of(const union address *address)
{
	const uint64_t odd = 0x9e3779b97f4a7c15u;
	uint64_t words[sizeof(*address) / sizeof(uint64_t)];
	uint64_t hash = 0;

	memcpy(words, address, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		hash = (hash ^ words[i]) * odd;
	return (unsigned int)(hash >> 32) % SENDERS_SIZE;
}

/*
 * Where the address is, or is to be put: a new one has NULL there.  All bytes
 * of it count, so those that the kernel did not write must be zero.  The table
 * is made when it is first needed; NULL with an exception if it cannot be.
 */
PyObject **
senders_find(struct senders **senders, const union address *address)
{
	unsigned int at = place_of(address);

	if (*senders == NULL)
		*senders = PyMem_Calloc(1, sizeof(**senders));
	if (*senders == NULL) {
		PyErr_NoMemory();
		return NULL;
	}
	if (memcmp(&(*senders)->entries[at].address, address,
		   sizeof(*address)) != 0) {
		Py_CLEAR((*senders)->entries[at].addr);
		(*senders)->entries[at].address = *address;
	}
	return &(*senders)->entries[at].addr;
}

void
senders_free(struct senders *senders)
{
	if (senders == NULL)
		return;
	for (int i = 0; i < SENDERS_SIZE; i++)
		Py_XDECREF(senders->entries[i].addr);
	PyMem_Free(senders);
}
