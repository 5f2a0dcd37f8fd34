/* Records of accounts.cdb. Value: "1", uid, gid, flags, quota (bytes, or bytes and messages), home, maildir, separated by tabs, and since when where that is
 * known. A reader refuses what it does not know: another version, a missing or a further field, a path that is not plain. */
#include "map/accounts.h"

#include <stdio.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/enc.h"
#include "base/num.h"
#include "os/os.h"

static const char marker_key[] = "\0postern-accounts";
static const char version[] = "1";
enum { VALUE_MAX = 4096, FIELDS = 7, FIELDS_MAX = 8 };

int accounts_open(const char *path, bool trusted, struct cdbfile **out, struct err *e)
{
	struct cdbfile *c;
	struct buf value;

	if (trusted && path_trusted(path, 0, e) < 0)
		return -1;
	if (cdbfile_open(path, &c, e) < 0)
		return -1;
	buf_init(&value, VALUE_MAX);
	int r = cdbfile_get(c, str_n(marker_key, sizeof(marker_key) - 1), VALUE_MAX, &value, e);

	if (r == 1 || (r == 0 && !str_eq(buf_view(&value), str_c(version))))
		r = err_set(e, ERR_CONF, 0, "%s: not an accounts file of this version", path);
	buf_fini(&value);
	if (r < 0) {
		cdbfile_close(&c);
		return -1;
	}
	*out = c;
	return 0;
}

int accounts_put_marker(struct cdbwrite *w, struct err *e)
{
	return cdbwrite_add(w, str_n(marker_key, sizeof(marker_key) - 1), str_c(version), e) < 0
		       ? -1
		       : 0;
}

bool account_name_valid(struct str name)
{
	unsigned ats = 0;
	struct str rest = name;

	if (name.n == 0 || name.n > ACCOUNT_NAME_MAX || name.p[0] == '-' || name.p[0] == '.' ||
	    !utf8_valid(name))
		return false;
	while (rest.n) {
		const uint32_t cp = utf8_next(&rest);

		ats += cp == '@';
		if (cp < 0x80 ? !ch_alnum((int)cp) && !strchr("._-+@", (int)cp) : cp < 0xa0)
			return false;
	}
	return ats <= 1;
}

/* Absolute, no "." or ".." or empty part but a last one, no controls: what account_format can carry and nobody can climb out of. */
static bool path_plain(struct str s)
{
	if (s.n < 2 || s.n >= ACCOUNT_PATH_MAX || s.p[0] != '/' || !utf8_valid(s))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (ch_ctl(s.p[i]))
			return false;
	struct str rest = str_from(s, 1);

	while (rest.p) {
		const struct str part = str_split(&rest, '/');

		if (str_eq(part, STR(".")) || str_eq(part, STR("..")) || (part.n == 0 && rest.p))
			return false;
	}
	return true;
}

static void copy(char *to, struct str from)
{
	if (from.n)
		memcpy(to, from.p, from.n);
	to[from.n] = 0;
}

static int bad(struct err *e, struct str name, const char *what)
{
	return err_set(e, ERR_TEMP, 0, "account \"%.*s\": %s", STR_ARG(str_sub(name, 0, 80)), what);
}

int account_quota_parse(struct str s, unsigned long long *bytes_out, unsigned long long *count_out)
{
	const struct str bytes = str_split(&s, ',');
	uint64_t b, c = 0;

	if (num_parse(bytes, 0, UINT64_MAX / 2, &b) < 0 || (s.p && num_parse(s, 0, UINT64_MAX / 2, &c) < 0))
		return -1;
	*bytes_out = b;
	*count_out = c;
	return 0;
}

void account_quota_format(struct buf *out, unsigned long long bytes, unsigned long long count)
{
	buf_printf(out, "%llu", bytes);
	if (count > 0)
		buf_printf(out, ",%llu", count);
}

int account_parse(struct str name, struct str value, struct account *out, struct err *e)
{
	struct str f[FIELDS_MAX], rest = value;
	uint64_t uid, gid, flags, since = 0;
	unsigned long long bytes, count;
	size_t n = 0;

	while (rest.p && n < FIELDS_MAX)
		f[n++] = str_split(&rest, '\t');
	if (!account_name_valid(name))
		return bad(e, name, "bad name");
	if (n < FIELDS || rest.p || !str_eq(f[0], str_c(version)))
		return bad(e, name, "not a record of this version");
	if (num_parse(f[1], 1, UINT32_MAX - 1, &uid) < 0 ||
	    num_parse(f[2], 1, UINT32_MAX - 1, &gid) < 0)
		return bad(e, name, "bad uid or gid");
	if (num_parse(f[3], 0, ACCOUNT_F_VIRTUAL | ACCOUNT_F_DISABLED | ACCOUNT_F_SERVICE, &flags) < 0 ||
	    account_quota_parse(f[4], &bytes, &count) < 0)
		return bad(e, name, "bad flags or quota");
	if (n == FIELDS_MAX && num_parse(f[7], 1, INT64_MAX, &since) < 0)
		return bad(e, name, "bad time");
	if (!path_plain(f[5]) || !path_plain(f[6]))
		return bad(e, name, "bad home or maildir");
	*out = (struct account){
		.uid = (uid_t)uid, .gid = (gid_t)gid, .flags = (unsigned)flags, .quota_bytes = bytes,
		.quota_count = count, .since = since
	};
	copy(out->name, name);
	copy(out->home, f[5]);
	copy(out->maildir, f[6]);
	return 0;
}

void account_format(const struct account *a, struct buf *value_out)
{
	buf_printf(value_out, "%s\t%u\t%u\t%u\t", version, (unsigned)a->uid, (unsigned)a->gid, a->flags);
	account_quota_format(value_out, a->quota_bytes, a->quota_count);
	buf_printf(value_out, "\t%s\t%s", a->home, a->maildir);
	if (a->since)
		buf_printf(value_out, "\t%llu", a->since);
}

int accounts_get(struct cdbfile *c, struct str name, uid_t min_uid, struct account *out,
		 struct err *e)
{
	char folded[ACCOUNT_NAME_MAX];
	struct buf value;

	if (!account_name_valid(name))
		return err_set(e, ERR_NOENT, 0, "not an account's name");
	for (size_t i = 0; i < name.n; i++)
		folded[i] = ch_lower(name.p[i]);
	name = str_n(folded, name.n);
	buf_init(&value, VALUE_MAX + 1);
	int r = cdbfile_get(c, name, VALUE_MAX, &value, e);

	if (r == 0)
		r = account_parse(name, buf_view(&value), out, e);
	else if (r == 1)
		r = err_set(e, ERR_NOENT, 0, "no account \"%.*s\"", STR_ARG(str_sub(name, 0, 80)));
	if (r == 0 && out->uid < min_uid)
		r = bad(e, name, "uid is below the lowest allowed");
	buf_fini(&value);
	return r;
}

int account_load(const char *state_directory, struct str name, uid_t min_uid, struct account *out, struct err *e)
{
	struct cdbfile *cdb;
	char path[1200];

	if (snprintf(path, sizeof(path), "%s/accounts.cdb", state_directory) >= (int)sizeof(path))
		return err_set(e, ERR_CONF, 0, "state_directory is too long");
	if (accounts_open(path, geteuid() == 0, &cdb, e) < 0)
		return -1;
	const int r = accounts_get(cdb, name, min_uid, out, e);
	cdbfile_close(&cdb);
	return r;
}
