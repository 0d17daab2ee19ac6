/* SPDX-License-Identifier: MIT */
/*
 * helper/link.c as a program, for tests.
 *
 *   link_main IFINDEX OWNER
 *       Messages on standard input, each behind its size in four bytes of
 *       the machine's order. For each a line: 1, or 0.
 */
#include <stdio.h>
#include <stdlib.h>

#include "link.h"

int main(int argc, char **argv)
{
	uint32_t size;

	if (argc != 3)
		return 64;
	const uint32_t ifindex = (uint32_t)strtoul(argv[1], NULL, 10);
	const uid_t owner = (uid_t)strtoul(argv[2], NULL, 10);

	while (fread(&size, sizeof(size), 1, stdin) == 1) {
		/* Of just this size, so that a sanitizer sees a byte beyond. */
		uint8_t *message = malloc(size > 0 ? size : 1);

		if (message == NULL || fread(message, 1, size, stdin) != size)
			return 71;
		puts(link_is_owners_alone(message, size, ifindex, owner) ? "1" :
									    "0");
		free(message);
	}
	return 0;
}
