/* Flags as letters at the end of a file's name: ":2,FS". */
#include "store/store_priv.h"

static const struct { char letter; uint8_t disk; unsigned flag; } letters[] = {	/* in the alphabet's order */
	{ 'D', DISK_D, MBOX_DRAFT }, { 'F', DISK_F, MBOX_FLAGGED }, { 'P', DISK_P, MBOX_FORWARDED },
	{ 'R', DISK_R, MBOX_ANSWERED }, { 'S', DISK_S, MBOX_SEEN }, { 'T', DISK_T, MBOX_DELETED },
};

uint8_t disk_of_flags(unsigned flags)
{
	uint8_t disk = 0;

	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (flags & letters[i].flag)
			disk |= letters[i].disk;
	return disk;
}

unsigned flags_of_disk(uint8_t disk)
{
	unsigned flags = 0;

	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (disk & letters[i].disk)
			flags |= letters[i].flag;
	return flags;
}

static uint8_t disk_of_letter(char c)
{
	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (letters[i].letter == c)
			return letters[i].disk;
	return 0;
}

uint8_t disk_of_info(struct str info, bool *odd_out)
{
	uint8_t disk = 0;
	char last = 0;

	*odd_out = false;
	for (size_t i = 0; i < info.n; i++) {
		const uint8_t d = info.p[i] == ',' ? 0 : disk_of_letter(info.p[i]);
		disk |= d;
		if (d == 0 || info.p[i] <= last)
			*odd_out = true;
		if (info.p[i] == ',')
			break;
		last = info.p[i];
	}
	return disk;
}

/* Our letters and the odd info's other ones, sorted; then what follows its comma. */
int disk_name(char *out, struct str base, uint8_t disk, struct str info)
{
	char flags[256];
	size_t n = 0, m;
	const ptrdiff_t comma = str_chr(info, ',');
	const struct str odd = comma < 0 ? info : str_sub(info, 0, (size_t)comma);
	const struct str rest = comma < 0 ? (struct str){ 0 } : str_from(info, (size_t)comma);

	if (disk & DISK_NOINFO) {
		if (base.n == 0 || base.n > FILE_NAME_MAX)
			return -1;
		memcpy(out, base.p, base.n);
		out[base.n] = '\0';
		return 0;
	}
	for (size_t i = 0; odd.n == 0 && i < ARRAY_LEN(letters); i++)
		if (letters[i].disk & disk)
			flags[n++] = letters[i].letter;
	for (int c = 1; odd.n > 0 && c < 256 && n < sizeof(flags) - 1; c++)
		if ((disk_of_letter((char)c) & disk) || (!disk_of_letter((char)c) && str_chr(odd, (char)c) >= 0))
			flags[n++] = (char)c;
	m = base.n + 3 + n + rest.n;
	if (base.n == 0 || m > FILE_NAME_MAX)
		return -1;
	memcpy(out, base.p, base.n);
	memcpy(out + base.n, ":2,", 3);
	memcpy(out + base.n + 3, flags, n);
	if (rest.n)
		memcpy(out + base.n + 3 + n, rest.p, rest.n);
	out[m] = '\0';
	return 0;
}

bool state_unflushed(const struct rec *r)
{
	return (r->disk & DISK_LETTERS) != disk_of_flags(r->flags);
}
