/* The capability list. Owns: which row holds when. */
#include "caps.h"

#include "log/log.h"

static const struct {
	const char *name;
	unsigned when;
} rows[] = {
#define EXT(name, when, source) { name, when },
#include "extensions.def"
#undef EXT
};

bool caps_offered(const struct conf *conf, const char *name)
{
	for (size_t i = 0; i < conf->imap_discard_capabilities.n; i++)
		if (str_case_eq(str_c(conf->imap_discard_capabilities.v[i]), str_c(name)))
			return false;
	return true;
}

void caps_check(const struct conf *conf)
{
	const struct conf_list l = conf->imap_discard_capabilities;

	for (size_t i = 0; i < l.n; i++) {
		bool known = false;
		for (size_t k = 0; k < ARRAY_LEN(rows); k++)
			known |= str_case_eq(str_c(l.v[i]), str_c(rows[k].name));
		if (!known)
			log_warning("imap_discard_capabilities: there is no capability %s", l.v[i]);
	}
}

void caps_put(struct buf *out, unsigned now, const struct conf *conf, bool mechs)
{
	const char *sep = "";

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!(rows[i].when & now) || !caps_offered(conf, rows[i].name))
			continue;
		buf_printf(out, "%s%s", sep, rows[i].name);
		if (rows[i].when & CAP_SIZE)
			buf_u64(out, conf->message_size_limit);
		sep = " ";
	}
	for (size_t i = 0; mechs && i < conf->auth_mechanisms.n; i++)
		buf_printf(out, " AUTH=%s", conf->auth_mechanisms.v[i]);
}
