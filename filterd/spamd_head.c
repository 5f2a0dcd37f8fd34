/* See spamd_head.h. */
#include "spamd_head.h"

#include "base/num.h"

const char *const spamd_method_names[SPAMD_METHODS] = {
#define SPAMD_METHOD(name, body, doc) #name,
#include "spamd.def"
#undef SPAMD_METHOD
};

bool spamd_method_has_body(enum spamd_method m)
{
	static const bool has[SPAMD_METHODS] = {
#define SPAMD_METHOD(name, body, doc) body,
#include "spamd.def"
#undef SPAMD_METHOD
	};
	return has[m];
}

/* "CHECK SPAMC/1.5" */
static int first_line(struct str line, struct spamd_head *out, struct err *e)
{
	struct str word, version, rest = line;
	if (!str_token(&rest, " ", &word) || !str_token(&rest, " ", &version) || str_trim(rest).n > 0 || !str_starts(version, STR("SPAMC/")))
		return err_set(e, ERR_INPUT, 0, "not \"METHOD SPAMC/VERSION\"");
	for (unsigned i = 0; i < SPAMD_METHODS; i++)
		if (str_eq(word, str_c(spamd_method_names[i]))) {
			out->method = (enum spamd_method)i;
			return 0;
		}
	return err_set(e, ERR_INPUT, 0, "no such method");
}

/* "local,remote" */
static int places(struct str value, unsigned *out, struct err *e)
{
	struct str word;
	while (str_token(&value, ", \t", &word)) {
		if (str_case_eq(word, STR("local")))
			*out |= SPAMD_LOCAL;
		else if (str_case_eq(word, STR("remote")))
			*out |= SPAMD_REMOTE;
		else
			return err_set(e, ERR_INPUT, 0, "Set and Remove know local and remote");
	}
	return 0;
}

static int message_class(struct str value, struct spamd_head *out, struct err *e)
{
	if (str_case_eq(value, STR("spam")))
		out->class = SPAMD_CLASS_SPAM;
	else if (str_case_eq(value, STR("ham")))
		out->class = SPAMD_CLASS_HAM;
	else
		return err_set(e, ERR_INPUT, 0, "Message-class is spam or ham");
	return 0;
}

static int field(struct str line, struct spamd_head *out, struct err *e)
{
	const ptrdiff_t colon = str_chr(line, ':');
	if (colon < 1)
		return err_set(e, ERR_INPUT, 0, "a line that is no field");
	const struct str name = str_sub(line, 0, (size_t)colon), value = str_trim(str_from(line, (size_t)colon + 1));
	if (str_case_eq(name, STR("Content-length"))) {
		if (out->sized || num_parse(value, 0, UINT32_MAX, &out->length) < 0)
			return err_set(e, ERR_INPUT, 0, "Content-length is no number, or there twice");
		out->sized = true;
	} else if (str_case_eq(name, STR("User"))) {
		if (value.n > SPAMD_USER_MAX || !str_printable(value))
			return err_set(e, ERR_INPUT, 0, "User is too long, or no text");
		out->user = value;
	} else if (str_case_eq(name, STR("Message-class"))) {
		return message_class(value, out, e);
	} else if (str_case_eq(name, STR("Set")) || str_case_eq(name, STR("Remove"))) {
		return places(value, ch_lower(name.p[0]) == 's' ? &out->set : &out->remove, e);
	} else if (str_case_eq(name, STR("Compress"))) {
		out->compressed = true;
	}
	return 0;
}

int spamd_head_parse(struct str in, struct spamd_head *out, size_t *used, struct err *e)
{
	struct spamd_head h = { .user = STR("") };
	struct str rest = in;
	for (bool first = true;; first = false) {
		const ptrdiff_t lf = str_chr(rest, '\n');
		if (lf < 0 || (size_t)(rest.p - in.p) + (size_t)lf > SPAMD_HEAD_MAX)
			return rest.n > SPAMD_HEAD_MAX || in.n > SPAMD_HEAD_MAX ? err_set(e, ERR_LIMIT, 0, "the head of the request is too long") : 1;
		struct str line = str_sub(rest, 0, (size_t)lf);
		rest = str_from(rest, (size_t)lf + 1);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (first && first_line(line, &h, e) < 0)
			return -1;
		if (!first && line.n == 0)
			break;
		if (!first && field(line, &h, e) < 0)
			return -1;
	}
	*out = h;
	*used = (size_t)(rest.p - in.p);
	return 0;
}
