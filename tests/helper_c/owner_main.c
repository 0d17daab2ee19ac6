/* SPDX-License-Identifier: MIT */
/*
 * helper/owner.c as a program, for tests: the text of a file on standard
 * input; for each argument, an account, its owner on a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "owner.h"

int main(int argc, char **argv)
{
	static char read_in[1 << 20];
	const size_t size = fread(read_in, 1, sizeof(read_in), stdin);
	/* Of just this size, so that a sanitizer sees a byte beyond. */
	char *text = malloc(size > 0 ? size : 1);

	if (text == NULL)
		return 71;
	memcpy(text, read_in, size);
	for (int i = 1; i < argc; i++) {
		const uid_t uid = (uid_t)strtoul(argv[i], NULL, 10);

		printf("%u\n", (unsigned int)owner_in(text, size, uid));
	}
	free(text);
	return 0;
}
