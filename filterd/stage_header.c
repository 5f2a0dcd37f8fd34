/* The header section's form (RFC 5322 3.6), as amavisd-new's bad-header check tells it: one finding a message, the most telling one. */
#include "ipc/filter.h"
#include "mail/head.h"
#include "scan.h"

enum { LINE_MAX_BYTES = 998 };

static bool is_single(struct str name)
{
	static const char *const single[] = { "Date", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject",
					      "MIME-Version", "Content-Type", "Content-Transfer-Encoding" };
	for (size_t i = 0; i < ARRAY_LEN(single); i++)
		if (str_case_eq(name, str_c(single[i])))
			return true;
	return false;
}

/* What is wrong with the lines of one field, or NULL. */
static const char *bad_lines(struct str whole)
{
	for (struct str rest = whole; rest.n > 0;) {
		const struct str line = str_split(&rest, '\n');
		if (line.n > LINE_MAX_BYTES + 1)
			return "line longer than 998 characters";
		if (rest.n > 0 && line.p != whole.p && str_trim(line).n == 0)
			return "folded line of blanks only";
	}
	return NULL;
}

static const char *bad_field(struct str whole)
{
	if (str_chr(whole, '\0') >= 0)
		return "NUL character";
	for (size_t i = 0; i < whole.n; i++)
		if ((unsigned char)whole.p[i] >= 0x80)
			return "non-encoded 8-bit data";
	return bad_lines(whole);
}

static const char *twice(struct scan *s, struct str head, const struct mail_field *f)
{
	struct mail_field g;
	for (struct str rest = head; mail_field_next(&rest, &g) == 0 && g.whole.p < f->whole.p;)
		if (str_case_eq(g.name, f->name))
			return arena_printf(s->a, "duplicate header field: \"%.*s\"", STR_ARG(f->name));
	return NULL;
}

/* What is added on the way is not missing. */
static const char *missing(const struct scan *s, struct str head)
{
	const bool date = s->facts != NULL && s->facts->complete, from = date && s->facts->sender.n > 0;
	const struct {
		const char *name, *text;
		bool added;
	} needed[] = {
		{ "Date", "missing required header field: \"Date\"", date },
		{ "From", "missing required header field: \"From\"", from },
	};
	struct mail_field f;
	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		if (!needed[i].added && !mail_field_find(head, needed[i].name, &f))
			return needed[i].text;
	return NULL;
}

int stage_header(struct scan *s, struct err *e)
{
	(void)e;
	const struct str head = s->root->head;
	const char *why = NULL;
	struct mail_field f;
	for (struct str rest = head; why == NULL && mail_field_next(&rest, &f) == 0;) {
		why = bad_field(f.whole);
		if (why == NULL && is_single(f.name))
			why = twice(s, head, &f);
	}
	if (why == NULL)
		why = missing(s, head);
	if (why == NULL)
		return 0;
	scan_explain(s, "header", "%s", why);
	return scan_found(s, CLASS_BADHEADER, why, arena_printf(s->a, "Bad header: %s", why));
}
