/* SPDX-License-Identifier: MIT */
/*
 * The probes of one socket: which fly, which have had their end, and when the
 * oldest of a group is lost.  No system call and no clock in here.
 *
 * A probe has a serial number; the sequence of its request is the lower half
 * of it, and its slot the lower bits.  At most half of the slots fly, so that
 * a probe is known for as long after its end as it takes to send as many as
 * there are slots: a second reply is told from a late one so long.
 */
#include "echo_table.h"

#include "critical.h"

#include <string.h>

enum { FIRST_CAPACITY = 1024 };

static int32_t
slot_of(const struct echo_table *table, const struct echo_probe *probe)
{
	return (int32_t)(probe - table->probes);
}

/* Oldest first, for all of a group have the same time. */
static void
link_newest(struct echo_table *table, struct echo_probe *probe)
{
	struct echo_group *group = probe->group;
	int32_t slot = slot_of(table, probe);

	probe->older = group->newest;
	probe->newer = ECHO_NONE;
	if (group->newest == ECHO_NONE)
		group->oldest = slot;
	else
		table->probes[group->newest].newer = slot;
	group->newest = slot;
	group->in_flight++;
	table->in_flight++;
}

static void
unlink_probe(struct echo_table *table, struct echo_probe *probe)
{
	struct echo_group *group = probe->group;

	if (probe->older == ECHO_NONE)
		group->oldest = probe->newer;
	else
		table->probes[probe->older].newer = probe->newer;
	if (probe->newer == ECHO_NONE)
		group->newest = probe->older;
	else
		table->probes[probe->newer].older = probe->older;
	group->in_flight--;
	table->in_flight--;
}

static void
forget(struct echo_probe *probe)
{
	Py_CLEAR(probe->host);
	Py_CLEAR(probe->watch);
	Py_CLEAR(probe->group);
}

/* Where a slot of the table before is in the one twice as large. */
static int32_t
moved(const struct echo_table *table, int32_t slot, uint32_t capacity)
{
	if (slot == ECHO_NONE)
		return ECHO_NONE;
	return (int32_t)(table->probes[slot].serial & (capacity - 1));
}

static int
grow(struct echo_table *table)
{
	uint32_t capacity =
		table->capacity > 0 ? 2 * table->capacity : FIRST_CAPACITY;
	struct echo_probe *probes = PyMem_Calloc(capacity, sizeof(*probes));

	if (probes == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	for (uint32_t slot = 0; slot < table->capacity; slot++) {
		const struct echo_probe *before = &table->probes[slot];
		struct echo_probe *after;

		if (before->state == ECHO_FREE)
			continue;
		after = &probes[before->serial & (capacity - 1)];
		*after = *before;
		if (before->state != ECHO_FLYING)
			continue;
		after->older = moved(table, before->older, capacity);
		after->newer = moved(table, before->newer, capacity);
		if (after->older == ECHO_NONE)
			after->group->oldest = (int32_t)(after - probes);
		if (after->newer == ECHO_NONE)
			after->group->newest = (int32_t)(after - probes);
	}
	PyMem_Free(table->probes);
	table->probes = probes;
	table->capacity = capacity;
	return 0;
}

/* The slot of the next serial number whose slot has no probe in flight. */
static struct echo_probe *
next_slot(struct echo_table *table)
{
	struct echo_probe *probe;

	do {
		probe = &table->probes[table->next & (table->capacity - 1)];
		table->next++;
	} while (probe->state == ECHO_FLYING);
	return probe;
}

/* NULL: as many fly as can be told apart; or with an exception. */
struct echo_probe *
echo_begin(struct echo_table *table, struct echo_group *group,
	   const struct echo_target *target)
{
	struct echo_probe *probe;

	if (table->in_flight >= ECHO_MOST)
		return NULL;
	if ((uint32_t)table->in_flight >= table->capacity / 2 &&
	    grow(table) < 0)
		return NULL;
	probe = next_slot(table);
	forget(probe);
	*probe = (struct echo_probe){
		.serial = table->next - 1,
		.host = Py_XNewRef(target->host),
		.watch = (struct echo_watch *)Py_XNewRef(
			(PyObject *)target->watch),
		.group = (struct echo_group *)Py_NewRef((PyObject *)group),
		.scope = target->scope,
		.sequence = target->sequence,
		.state = ECHO_FLYING,
	};
	memcpy(probe->address, target->address, ECHO_ADDRESS);
	link_newest(table, probe);
	if (group->number == 0) {
		group->number = ++table->groups;
		group->answered = probe->serial;
	}
	group->next = table->next;
	if (group->size > table->largest)
		table->largest = group->size;
	table->brief |= group->size < ECHO_COOKIE;
	return probe;
}

struct echo_probe *
echo_find(const struct echo_table *table, uint64_t serial)
{
	struct echo_probe *probe;

	if (table->capacity == 0)
		return NULL;
	probe = &table->probes[serial & (table->capacity - 1)];
	if (probe->state == ECHO_FREE || probe->serial != serial)
		return NULL;
	return probe;
}

/* The last probe whose request had this sequence. */
struct echo_probe *
echo_find_sequence(const struct echo_table *table, uint16_t sequence)
{
	uint64_t last = table->next - 1;

	return echo_find(table, last - ((last - sequence) & 0xffff));
}

void
echo_end(struct echo_table *table, struct echo_probe *probe,
	 enum echo_state state)
{
	unlink_probe(table, probe);
	if (probe->asked && probe->stamped_ns == 0)
		table->awaited--;
	probe->state = (uint8_t)state;
	Py_CLEAR(probe->host);
	Py_CLEAR(probe->watch);
	/* Who waits for an answered one may be told of a second reply. */
	if (state == ECHO_ENDED)
		Py_CLEAR(probe->group);
}

/* Its time starts anew. */
void
echo_renew(struct echo_table *table, struct echo_probe *probe,
	   int64_t monotonic_ns)
{
	unlink_probe(table, probe);
	probe->sent_monotonic = monotonic_ns;
	link_newest(table, probe);
}

/* What became of a probe, to be filled in; NULL with an exception. */
struct echo *
echo_of(const struct echo_table *table, const struct echo_probe *probe)
{
	struct echo *echo =
		(struct echo *)PyType_GenericAlloc(table->state->echo_type, 0);

	if (echo == NULL)
		return NULL;
	echo->host = Py_XNewRef(probe->host);
	echo->rtt = -1.0;
	echo->ttl = ECHO_NO_TTL;
	echo->sent_ns =
		probe->stamped_ns != 0 ? probe->stamped_ns : probe->sent_ns;
	echo->scope = probe->scope;
	echo->sequence = probe->sequence;
	echo->version = table->version;
	memcpy(echo->address, probe->address, ECHO_ADDRESS);
	return echo;
}

/*
 * The kernel says when a probe left.  Again, where one interface gives packets
 * to another, as that of a VLAN does: the last is the nearest to the cable.
 */
void
echo_stamp(struct echo_table *table, struct echo_probe *probe,
	   int64_t stamped_ns)
{
	if (probe->state != ECHO_FLYING)
		return;
	if (probe->asked && probe->stamped_ns == 0)
		table->awaited--;
	probe->stamped_ns = stamped_ns;
}

int
echo_deliver(struct echo_group *group, struct echo *echo)
{
	int failed;

	BEGIN(group);
	failed = PyList_Append(group->finished, (PyObject *)echo);
	END();
	Py_DECREF((PyObject *)echo);
	return failed;
}

/* A probe in flight has its end, and who waits for it is told. */
int
echo_conclude(struct echo_table *table, struct echo_probe *probe,
	      struct echo *echo, enum echo_state state)
{
	double rtt = echo->rtt;

	if (echo_deliver(probe->group, echo) < 0 ||
	    (probe->watch != NULL && echo_watch_add(probe->watch, rtt) < 0))
		return -1;
	echo_end(table, probe, state);
	return 0;
}

int
echo_expire(struct echo_table *table, struct echo_group *group,
	    int64_t monotonic_ns)
{
	while (group->oldest != ECHO_NONE) {
		struct echo_probe *probe = &table->probes[group->oldest];
		struct echo *echo;

		if (probe->sent_monotonic + group->timeout_ns > monotonic_ns)
			break;
		echo = echo_of(table, probe);
		if (echo == NULL ||
		    echo_conclude(table, probe, echo, ECHO_ENDED) < 0)
			return -1;
	}
	return 0;
}

void
echo_table_clear(struct echo_table *table)
{
	for (uint32_t slot = 0; slot < table->capacity; slot++) {
		struct echo_probe *probe = &table->probes[slot];

		if (probe->state == ECHO_FLYING)
			echo_end(table, probe, ECHO_ENDED);
		forget(probe);
	}
	PyMem_Free(table->probes);
	table->probes = NULL;
	table->capacity = 0;
}
