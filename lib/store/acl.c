/* Access control lists of folders (RFC 4314): the rules, pure, and the file.
 *
 *   postern.acl in a folder: "1\n", then per entry "<identifier> <rights>\n", where a negative entry's identifier begins with "-".
 *
 * It is replaced as a whole (acl_tree.c). A damaged list opens nothing and is never overwritten. deliver reads lists, too: nothing here needs a tree. */
#include "store/acl.h"

#include <errno.h>

#include "base/enc.h"
#include "os/os.h"

static const struct {
	char letter;
	uint32_t bit;
} rows[] = {
#define ACL_RIGHT(name, letter, bit, what) { letter, bit },
#include "store/acl.def"
#undef ACL_RIGHT
};
/* RFC 4314 section 2.1.1: what the rights of RFC 2086 that are no more stand for. */
static const struct {
	char letter;
	uint32_t bits;
} obsolete_rows[] = { { 'c', ACL_K | ACL_X }, { 'd', ACL_E | ACL_T } };

/* --- rights --- */

static uint32_t bits_of(char letter)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].letter == letter)
			return rows[i].bit;
	}
	for (size_t i = 0; i < ARRAY_LEN(obsolete_rows); i++) {
		if (obsolete_rows[i].letter == letter)
			return obsolete_rows[i].bits;
	}
	return 0;
}

int acl_rights_parse(struct str letters, uint32_t *rights_out, struct err *e)
{
	uint32_t rights = 0;

	for (size_t i = 0; i < letters.n; i++) {
		const uint32_t bits = bits_of(letters.p[i]);

		if (bits == 0)
			return err_set(e, ERR_INPUT, 0, "there is no such right");
		rights |= bits;
	}
	*rights_out = rights;
	return 0;
}

void acl_rights_format(struct buf *out, uint32_t rights, bool obsolete)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rights & rows[i].bit)
			buf_ch(out, rows[i].letter);
	}
	for (size_t i = 0; obsolete && i < ARRAY_LEN(obsolete_rows); i++) {
		if (rights & obsolete_rows[i].bits)
			buf_ch(out, obsolete_rows[i].letter);
	}
}

uint32_t acl_rights_of(const struct acl_entry *list, struct str user)
{
	uint32_t plus = 0, minus = 0;

	for (; list; list = list->next) {
		if (!str_eq(list->id, STR("anyone")) && !str_eq(list->id, STR("authenticated")) && !str_case_eq(list->id, user))
			continue;
		*(list->negative ? &minus : &plus) |= list->rights;
	}
	return plus & ~minus;
}

/* --- identifiers and lists --- */

/* No group, no "$", no blank: what could mean something else one day is refused today. */
static bool id_ok(struct str id)
{
	if (id.n == 0 || id.n > ACL_ID_MAX || !utf8_valid(id) || id.p[0] == '-' || id.p[0] == '.')
		return false;
	for (size_t i = 0; i < id.n; i++) {
		const char ch = id.p[i];

		if (!ch_alnum(ch) && !(ch & 0x80) && !memchr("._-+@", ch, 5))
			return false;
	}
	return true;
}

int acl_id_parse(struct arena *a, struct str text, struct acl_entry *out, struct err *e)
{
	const bool negative = text.n && text.p[0] == '-';
	const struct str id = negative ? str_from(text, 1) : text;
	char *copy;

	if (!id_ok(id) || !(copy = arena_cstr(a, id)))
		return err_set(e, ERR_INPUT, 0, "identifiers are names of accounts, anyone or authenticated");
	for (size_t i = 0; i < id.n; i++)
		copy[i] = ch_lower(copy[i]);
	*out = (struct acl_entry){ .id = str_n(copy, id.n), .negative = negative };
	return 0;
}

int acl_parse(struct arena *a, struct str file, struct acl_entry **list_out, struct err *e)
{
	struct acl_entry *list = NULL, **tail = &list;
	size_t n = 0;

	if (!str_starts(file, STR("1\n")) || file.p[file.n - 1] != '\n')
		return err_set(e, ERR_TEMP, 0, "the access list is damaged");
	file = str_from(file, 2);
	while (file.n) {
		struct str line = str_split(&file, '\n');
		const struct str id = str_split(&line, ' ');
		struct acl_entry *x = ARENA_NEW(a, struct acl_entry);

		if (!x || n++ == ACL_ENTRIES_MAX || acl_id_parse(a, id, x, NULL) < 0 || acl_rights_parse(line, &x->rights, NULL) < 0 || x->rights == 0)
			return err_set(e, ERR_TEMP, 0, "the access list is damaged");
		*tail = x;
		tail = &x->next;
	}
	*list_out = list;
	return 0;
}

void acl_format(struct buf *out, const struct acl_entry *list)
{
	buf_c(out, "1\n");
	for (; list; list = list->next) {
		if (list->negative)
			buf_ch(out, '-');
		buf_str(out, list->id);
		buf_ch(out, ' ');
		acl_rights_format(out, list->rights, false);
		buf_ch(out, '\n');
	}
}

/* --- the file --- */

int acl_read_at(int fd, struct arena *a, struct acl_entry **list_out, struct err *e)
{
	struct err one = { 0 };
	struct buf b;
	int r = 0;

	*list_out = NULL;
	buf_init(&b, ACL_FILE_MAX);
	if (file_read_at(fd, ACL_NAME, ACL_FILE_MAX, &b, &one) == 0)
		r = acl_parse(a, buf_view(&b), list_out, e);
	else if (one.code != ERR_NOENT && one.sys != ENOENT)
		r = err_set(e, ERR_TEMP, one.sys, "access list: %s", one.text);
	buf_fini(&b);
	return r;
}
