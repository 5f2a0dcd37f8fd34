/* How services are named: a target, alone or with settings in braces. Pure. */
#include <string.h>

#include "base/num.h"
#include "deliver/policy/dial.h"

int dial_parse(struct str text, struct dial_target *out, struct err *e)
{
	const struct str whole = text;
	struct dial_target t = { 0 };
	uint64_t port;

	if (str_starts(text, STR("unix:/"))) {
		text = str_from(text, 5);
		if (text.n >= sizeof(t.path))
			return err_set(e, ERR_CONF, 0, "\"%.*s\": path too long", STR_ARG(whole));
		memcpy(t.path, text.p, text.n);
		*out = t;
		return 0;
	}
	const ptrdiff_t colon = str_rchr(text, ':');
	if (!str_starts(text, STR("inet:")) || colon < 6 || num_parse(str_from(text, (size_t)colon + 1), 1, 65535, &port) < 0)
		return err_set(e, ERR_CONF, 0, "\"%.*s\" (allowed: inet:host:port, unix:/path)", STR_ARG(str_sub(whole, 0, 60)));
	struct str host = str_sub(text, 5, (size_t)colon - 5);
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = str_sub(host, 1, host.n - 2);
	if (host.n == 0 || host.n >= sizeof(t.host) || memchr(host.p, '\0', host.n))
		return err_set(e, ERR_CONF, 0, "\"%.*s\": no host", STR_ARG(str_sub(whole, 0, 60)));
	memcpy(t.host, host.p, host.n);
	t.port = (uint16_t)port;
	*out = t;
	return 0;
}

int service_parse(struct str text, struct service_text *out, struct err *e)
{
	struct str part;

	*out = (struct service_text){ .target = str_trim(text) };
	if (out->target.n < 2 || out->target.p[0] != '{')
		return 0;
	if (out->target.p[out->target.n - 1] != '}')
		return err_set(e, ERR_CONF, 0, "\"%.*s\": no closing brace", STR_ARG(str_sub(text, 0, 60)));
	struct str rest = str_sub(out->target, 1, out->target.n - 2);
	if (!str_token(&rest, ",", &part))
		return err_set(e, ERR_CONF, 0, "a service without an address");
	out->target = str_trim(part);
	while (str_token(&rest, ",", &part)) {
		const ptrdiff_t eq = str_chr(part, '=');
		if (eq < 0 || out->n == SERVICE_SETTINGS_MAX)
			return err_set(e, ERR_CONF, 0, "\"%.*s\" (allowed: name=value)", STR_ARG(str_trim(part)));
		struct str value = str_trim(str_from(part, (size_t)eq + 1));
		if (value.n >= 2 && value.p[0] == '{' && value.p[value.n - 1] == '}')
			value = str_trim(str_sub(value, 1, value.n - 2));
		out->v[out->n++] = (struct service_setting){ str_trim(str_sub(part, 0, (size_t)eq)), value };
	}
	return 0;
}
