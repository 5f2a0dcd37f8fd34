/* See content.h. */
#include "content.h"

#include <stdbool.h>

/* A DOS or Windows program: "MZ" alone is two letters of text, so the header's shape must follow. */
static bool is_dos_program(struct str h)
{
	if (h.n < 64 || h.p[0] != 'M' || h.p[1] != 'Z')
		return false;
	const unsigned char *p = (const unsigned char *)h.p;
	const uint32_t pe = (uint32_t)p[60] | (uint32_t)p[61] << 8 | (uint32_t)p[62] << 16 | (uint32_t)p[63] << 24;
	return memchr(h.p, 0, 64) != NULL || (h.n >= 4 && pe <= h.n - 4 && memcmp(h.p + pe, "PE\0\0", 4) == 0);
}

/* A tar of before POSIX has no mark, but its header's checksum. */
static bool is_old_tar(struct str h)
{
	unsigned sum = 0, said = 0;
	if (h.n < 512 || h.p[0] == '\0')
		return false;
	for (size_t i = 0; i < 512; i++)
		sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h.p[i];
	size_t at = 148;
	while (at < 156 && h.p[at] == ' ')
		at++;
	if (at == 156 || h.p[at] < '0' || h.p[at] > '7')
		return false;
	for (; at < 156 && h.p[at] >= '0' && h.p[at] <= '7'; at++)
		said = said << 3 | (unsigned)(h.p[at] - '0');
	return said == sum;
}

struct content content_of(struct str h)
{
	static const struct {
		size_t at;
		struct str magic;
		struct content is;
	} known[] = {
#define CONTENT(offset, bytes, name, kind) { offset, { bytes, sizeof(bytes) - 1 }, { name, CONTENT_##kind } },
#include "content.def"
#undef CONTENT
	};
	if (is_dos_program(h))
		return (struct content){ ".exe-ms", CONTENT_OTHER };
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_starts(str_from(h, known[i].at), known[i].magic))
			return known[i].is;
	return is_old_tar(h) ? (struct content){ ".tar", CONTENT_ARCHIVE } : (struct content){ "", CONTENT_OTHER };
}
