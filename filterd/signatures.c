/* Kinds of signatures (signatures.h). What is not known to be without a kind may hold it. */
#include "signatures.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/num.h"
#include "base/str.h"

/* --- lines that want a mail --- */

/* A number of libclamav: digits, perhaps zeros before others. Target 4 is mail; what is no number is not known. */
static bool is_target_mail(struct str s)
{
	size_t n = 0;
	while (n < s.n && ch_digit(s.p[n]))
		n++;
	if (n == 0)
		return true;
	for (s.n = n; s.n > 1 && s.p[0] == '0';)
		s = str_from(s, 1);
	return str_eq(s, STR("4"));
}

/* name:target:offset:signature */
static bool ndb_wants_mail(struct str line)
{
	str_split(&line, ':');
	return is_target_mail(str_split(&line, ':'));
}

/* name;settings;expression;… Among those that a file is in ("Intermediates") any may be a mail. */
static bool ldb_wants_mail(struct str line)
{
	static const struct str target = { "Target:", sizeof("Target:") - 1 };
	if (str_find(line, STR("CL_TYPE_MAIL")) >= 0 || str_find(line, STR("CL_TYPE_ANY")) >= 0)
		return true;
	for (ptrdiff_t at; (at = str_find(line, target)) >= 0;) {
		line = str_from(line, (size_t)at + target.n);
		if (is_target_mail(line))
			return true;
	}
	return false;
}

/* name:container:… */
static bool cdb_wants_mail(struct str line)
{
	str_split(&line, ':');
	const struct str container = str_split(&line, ':');
	return !str_starts(container, STR("CL_TYPE_")) || str_eq(container, STR("CL_TYPE_MAIL")) || str_eq(container, STR("CL_TYPE_ANY"));
}

/* --- files --- */

enum holds {
	NO_SIGNATURES,	/* settings, exceptions, what signatures refer to; or what is not loaded by our options: signatures of unwanted programs */
	NO_LINKS,	/* signatures, but no list of links */
	MAYBE_LINKS,
};

typedef bool wants_fn(struct str line);

static bool always(struct str line)
{
	(void)line;
	return true;
}

struct kind {
	const char *suffix;
	enum holds holds;
	wants_fn *mail;	/* does the line want a mail? NULL: none does */
};

/* Bytecode and file types (cbc, ftm, cfg) say in their own words when they are used. */
static const struct kind kinds[] = {
	{ ".cvd", MAYBE_LINKS, always }, { ".cld", MAYBE_LINKS, always }, { ".cud", MAYBE_LINKS, always }, { ".pdb", MAYBE_LINKS, always },
	{ ".gdb", MAYBE_LINKS, always },
	{ ".ndb", NO_LINKS, ndb_wants_mail }, { ".ldb", NO_LINKS, ldb_wants_mail }, { ".sdb", NO_LINKS, ndb_wants_mail }, { ".cdb", NO_LINKS, cdb_wants_mail },
	{ ".hdb", NO_LINKS, NULL }, { ".hsb", NO_LINKS, NULL }, { ".mdb", NO_LINKS, NULL }, { ".msb", NO_LINKS, NULL }, { ".db", NO_LINKS, NULL },
	{ ".yar", NO_LINKS, always }, { ".yara", NO_LINKS, always }, { ".zmd", NO_LINKS, NULL }, { ".rmd", NO_LINKS, NULL }, { ".imp", NO_LINKS, NULL },
	{ ".cbc", NO_SIGNATURES, always }, { ".ftm", NO_SIGNATURES, always }, { ".cfg", NO_SIGNATURES, always }, { ".ioc", NO_SIGNATURES, always },
	{ ".wdb", NO_SIGNATURES, NULL }, { ".fp", NO_SIGNATURES, NULL }, { ".sfp", NO_SIGNATURES, NULL }, { ".ign", NO_SIGNATURES, NULL },
	{ ".ign2", NO_SIGNATURES, NULL }, { ".cat", NO_SIGNATURES, NULL }, { ".crb", NO_SIGNATURES, NULL }, { ".idb", NO_SIGNATURES, NULL },
	{ ".pwdb", NO_SIGNATURES, NULL }, { ".hdu", NO_SIGNATURES, NULL }, { ".hsu", NO_SIGNATURES, NULL }, { ".mdu", NO_SIGNATURES, NULL },
	{ ".msu", NO_SIGNATURES, NULL }, { ".ndu", NO_SIGNATURES, NULL }, { ".ldu", NO_SIGNATURES, NULL },
};

static const struct kind *kind_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (str_case_ends(str_c(name), str_c(kinds[i].suffix)))
			return &kinds[i];
	return NULL;
}

/* Of a file that cannot be read nothing is known. A comment is a line that begins with "#", and with nothing before it. */
static bool file_wants_mail(int dir_fd, const char *name, wants_fn *wants)
{
	char *text = NULL;
	size_t room = 0;
	bool found = false;
	const int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	if (f == NULL)
		return true;
	for (ssize_t n; !found && (n = getline(&text, &room, f)) > 0;) {
		const struct str line = str_trim(str_n(text, (size_t)n));
		found = line.n > 0 && text[0] != '#' && wants(line);
	}
	found |= ferror(f) != 0;
	free(text);
	fclose(f);
	return found;
}

struct signatures signatures_in(const char *dir)
{
	struct signatures s = { 0 };
	DIR *d = opendir(dir);
	if (d == NULL)
		return s;
	for (struct dirent *f; (f = readdir(d)) != NULL;) {
		const struct kind *k = kind_of(f->d_name);
		if (k == NULL)
			continue;
		s.any |= k->holds > NO_SIGNATURES;
		s.links |= k->holds == MAYBE_LINKS;
		s.mail |= !s.mail && k->mail != NULL && (k->mail == always || file_wants_mail(dirfd(d), f->d_name, k->mail));
	}
	closedir(d);
	return s;
}

uint64_t signatures_fingerprint(const char *dir)
{
	DIR *d = opendir(dir);
	uint64_t sum = 0;
	if (d == NULL)
		return 0;
	for (struct dirent *f; (f = readdir(d)) != NULL;) {
		struct stat st;
		if (kind_of(f->d_name) == NULL || fstatat(dirfd(d), f->d_name, &st, 0) < 0)
			continue;
		uint64_t facts[4] = { (uint64_t)st.st_ino, (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec };
		sum += (uint64_t)crc32c(0, facts, sizeof(facts)) << 16 | (uint64_t)(st.st_size & 0xffff);
		sum |= 1;
	}
	closedir(d);
	return sum;
}
