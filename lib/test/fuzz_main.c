/* main() of a fuzz target when no fuzzing engine is linked: runs every file named in argv, and every regular file of
 * a directory named there, through the target; without arguments only the empty input. Prints how many ran. With -c each file
 * is also cut at up to 512 places, and with each of up to 512 bytes changed (cheap, repeatable damage). */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DAMAGE_MAX = 512 };
static unsigned long runs;
static bool damage;

/* The target gets a block of exactly this size, so that a sanitizer sees each read past its end. */
static void run(const uint8_t *data, size_t size, size_t changed)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		exit(71);
	if (size)
		memcpy(copy, data, size);
	if (changed < size)
		copy[changed] ^= (uint8_t)(1u << (changed % 8));
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	runs++;
}

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (!f || fstat(fileno(f), &st) < 0) {
		perror(path);
		return -1;
	}
	const size_t size = (size_t)st.st_size;
	uint8_t *data = malloc(size ? size : 1);

	if (!data)
		exit(71);
	const size_t n = fread(data, 1, size, f);

	run(data, n, n);
	for (size_t i = 0; damage && i < DAMAGE_MAX && i < n; i++) {
		const size_t at =
			n <= DAMAGE_MAX ? i : (size_t)((unsigned long long)n * i / DAMAGE_MAX);

		run(data, at, n);
		run(data, n, at);
	}
	free(data);
	fclose(f);
	return 0;
}

static int run_path(const char *path)
{
	struct stat st;
	int bad = 0;

	if (stat(path, &st) < 0) {
		perror(path);
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return run_file(path);
	DIR *d = opendir(path);

	if (!d) {
		perror(path);
		return -1;
	}
	for (struct dirent *ent; (ent = readdir(d));) {
		char *name = NULL;

		if (ent->d_name[0] == '.')
			continue;
		if (asprintf(&name, "%s/%s", path, ent->d_name) < 0)
			exit(71);
		bad |= run_path(name);
		free(name);
	}
	closedir(d);
	return bad;
}

int main(int argc, char **argv)
{
	int bad = 0;

	run(NULL, 0, 0);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-c") == 0)
			damage = true;
		else
			bad |= run_path(argv[i]);
	}
	printf("%lu inputs\n", runs);
	return bad ? 1 : 0;
}
