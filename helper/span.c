/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "span.h"

bool span_is(struct span span, const char *text)
{
	return span.size == strlen(text) &&
	       memcmp(span.at, text, span.size) == 0;
}

bool span_begins(struct span span, const char *text)
{
	return span.size >= strlen(text) &&
	       memcmp(span.at, text, strlen(text)) == 0;
}

struct span span_without(struct span span, size_t head)
{
	return (struct span){ span.at + head, span.size - head };
}

struct span span_split(struct span *rest, char mark)
{
	struct span part = { rest->at, 0 };

	while (part.size < rest->size && part.at[part.size] != mark)
		part.size++;
	*rest = span_without(*rest, part.size < rest->size ? part.size + 1 :
							part.size);
	return part;
}

/* -1 where it is no digit of any base. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int span_number(struct span text, uint32_t high,
				  uint32_t *number)
{
	const bool hex = span_begins(text, "0x");
	const int base = hex ? 16 : 10;
	uint64_t value = 0;

	text = span_without(text, hex ? 2 : 0);
	if (text.size == 0 || text.size > 10 ||
	    (text.size > 1 && text.at[0] == '0' && !hex))
		return -1;
	for (size_t i = 0; i < text.size; i++) {
		const int each = digit(text.at[i]);

		if (each < 0 || each >= base)
			return -1;
		value = value * (unsigned int)base + (unsigned int)each;
	}
	*number = (uint32_t)value;
	return value <= high ? 0 : -1;
}

int span_range(struct span text, uint32_t low, uint32_t high,
				 struct range *range)
{
	const struct span whole = text;
	const struct span first = span_split(&text, '-');

	if (span_number(first, high, &range->low) || range->low < low)
		return -1;
	range->high = range->low;
	if (first.size == whole.size)
		return 0;
	/* 80-80 is 80, and 80-79 is nothing. */
	return span_number(text, high, &range->high) ||
	       range->high <= range->low ? -1 : 0;
}

int span_ranges(struct span text, struct range limits,
				  struct range *ranges, size_t *count)
{
	const char *end = text.at + text.size;
	struct span each;

	do {
		each = span_split(&text, ',');
		if (*count == POLICY_LIST_MAX ||
		    span_range(each, limits.low, limits.high, &ranges[*count]))
			return -1;
		(*count)++;
	} while (each.at + each.size < end);
	return 0;
}

int span_copy(struct span text, char *out, size_t room)
{
	if (text.size >= room)
		return -1;
	memset(out, 0, room);
	memcpy(out, text.at, text.size);
	return 0;
}
