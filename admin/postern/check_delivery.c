/* Local delivery, aliases and rewriting: values that never take effect, or that let mail wait for ever. */
#include "admin/postern/check.h"

#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "map/lookup.h"

/* --- lists of words --- */

static const char *const places[] = { "alias", "forward", "include", NULL };
static const char *const extensions[] = { "canonical", "virtual", "alias", "forward", "include", "generic", NULL };
static const char *const rewriting[] = { "envelope_sender", "envelope_recipient", "header_sender", "header_recipient", NULL };

static const char *const classes[] = { "bounce", "2bounce", "delay", "resource", "software", "policy", "protocol", "data", NULL };

static bool known(const char *const *words, const char *word)
{
	for (; *words; words++)
		if (str_case_eq(str_c(*words), str_c(word)))
			return true;
	return false;
}

static void check_words(struct check *c)
{
	const struct conf *o = c->conf;
	const struct {
		const char *name;
		struct conf_list list;
		const char *const *words;
	} rows[] = {
		{ "allow_mail_to_commands", o->allow_mail_to_commands, places },
		{ "allow_mail_to_files", o->allow_mail_to_files, places },
		{ "propagate_unmatched_extensions", o->propagate_unmatched_extensions, extensions },
		{ "canonical_classes", o->canonical_classes, rewriting },
		{ "sender_canonical_classes", o->sender_canonical_classes, rewriting },
		{ "recipient_canonical_classes", o->recipient_canonical_classes, rewriting },
		{ "masquerade_classes", o->masquerade_classes, rewriting },
		{ "notify_classes", o->notify_classes, classes },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (size_t k = 0; k < rows[i].list.n; k++)
			if (!known(rows[i].words, rows[i].list.v[k]))
				found_param(c, SEV_ERROR, rows[i].name, "\"%s\" is none of its words (the first is %s)", rows[i].list.v[k], rows[i].words[0]);
}

static void check_rewrite_clients(struct check *c)
{
	static const char *const words[] = { "permit_inet_interfaces", "permit_mynetworks", "permit_sasl_authenticated", NULL };
	const struct conf_list l = c->conf->local_header_rewrite_clients;

	for (size_t i = 0; i < l.n; i++) {
		struct cidr net;
		struct err e = { 0 };

		if (!known(words, l.v[i]) && cidr_parse(str_c(l.v[i]), &net, &e) < 0)
			found_param(c, SEV_ERROR, "local_header_rewrite_clients", "\"%s\" is neither a network nor permit_inet_interfaces, permit_mynetworks or "
				    "permit_sasl_authenticated", l.v[i]);
	}
}

/* "!sub.example.com" behind "example.com" is never looked at. */
static void check_masquerade(struct check *c)
{
	const struct conf_list l = c->conf->masquerade_domains;

	for (size_t i = 0; i < l.n; i++)
		for (size_t k = 0; k < i; k++) {
			const struct str name = str_c(l.v[i][0] == '!' ? l.v[i] + 1 : l.v[i]), before = str_c(l.v[k][0] == '!' ? l.v[k] + 1 : l.v[k]);

			if (str_case_eq(name, before) || (name.n > before.n && str_case_ends(name, before) && name.p[name.n - before.n - 1] == '.'))
				found_param(c, SEV_WARNING, "masquerade_domains", "%s is never reached: %s stands before it, and the first that matches decides", l.v[i], l.v[k]);
		}
}

/* --- local delivery --- */

static void check_transport(struct check *c, const char *name, const char *value)
{
	static const char *const transports[] = { "lmtp", "smtp", "relay", NULL };
	const char *colon = strchr(value, ':');

	if (!value[0])
		return;
	if (!colon || !known(transports, arena_cstr(c->a, str_n(value, (size_t)(colon - value)))))
		found_param(c, SEV_ERROR, name, "\"%s\": which transport? (allowed: lmtp:inet:host:port, lmtp:unix:/path, smtp:[host]:port)", value);
	else if (str_case_starts(str_c(colon + 1), STR("unix:")) && (!str_case_starts(str_c(value), STR("lmtp:")) || colon[6] != '/'))
		found_param(c, SEV_ERROR, name, "\"%s\": a UNIX socket is lmtp's alone, by its whole path (allowed: lmtp:unix:/path)", value);
}

static void check_privs(struct check *c)
{
	const struct conf *o = c->conf;
	const struct passwd *pw = getpwnam(o->default_privs);
	const bool used = known((const char *const *)places, "alias") && (o->allow_mail_to_commands.n || o->allow_mail_to_files.n);

	if (!pw)
		found_param(c, used ? SEV_ERROR : SEV_WARNING, "default_privs", "user %s does not exist", o->default_privs);
	else if (pw->pw_uid == 0 || pw->pw_gid == 0)
		found_param(c, SEV_ERROR, "default_privs", "%s is root, or in its group", o->default_privs);
}

static void check_local(struct check *c)
{
	const struct conf *o = c->conf;

	if (o->luser_relay[0] && o->local_recipient_maps.n)
		found_param(c, SEV_WARNING, "luser_relay", "unknown recipients are refused before: it needs an empty \"local_recipient_maps =\"");
	if (o->luser_relay[0] && o->fallback_transport[0])
		found_param(c, SEV_NOTE, "luser_relay", "not used: fallback_transport takes what is unknown");
	if (o->soft_bounce)
		found_param(c, SEV_WARNING, "soft_bounce", "nothing is refused for good and nothing is returned: senders try for days, and do not hear of it");
	if (o->mailbox_command[0] || o->mailbox_command_maps.n)
		found_param(c, SEV_NOTE, o->mailbox_command[0] ? "mailbox_command" : "mailbox_command_maps",
			    "takes all local mail: what IMAP and POP3 show is what it puts into the maildir");
	if (o->relay_domains.n && !o->relay_recipient_maps.n)
		found_param(c, SEV_NOTE, "relay_recipient_maps", "empty: every address of relay_domains is accepted, and what does not exist there is returned by us");
}

void check_delivery(struct check *c)
{
	check_words(c);
	check_rewrite_clients(c);
	check_masquerade(c);
	check_transport(c, "mailbox_transport", c->conf->mailbox_transport);
	check_transport(c, "fallback_transport", c->conf->fallback_transport);
	check_privs(c);
	check_local(c);
}

/* --- one alias --- */

static void check_list_file(struct check *c, const char *param, const char *spec, struct str key, struct str path)
{
	const char *name = arena_cstr(c->a, path);
	struct stat st;

	if (name[0] != '/' || stat(name, &st) < 0)
		found_param(c, SEV_WARNING, param, "%s: \"%.*s\": the list %s is missing: its mail will wait", spec, STR_ARG(str_sub(key, 0, 100)), name);
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 022))
		found_param(c, SEV_WARNING, param, "%s: \"%.*s\": the list %s can be written by others than its owner: it is not used", spec, STR_ARG(str_sub(key, 0, 100)), name);
}

void check_alias_targets(struct check *c, const char *param, const char *spec, struct str key, const struct ipc_resolve_RESULT *r)
{
	for (size_t i = 0; i < r->kinds.n; i++) {
		const bool command = str_eq(r->kinds.v[i], STR("command")), file = str_eq(r->kinds.v[i], STR("file"));
		const struct conf_list allowed = command ? c->conf->allow_mail_to_commands : c->conf->allow_mail_to_files;
		bool may = false;

		if (str_eq(r->kinds.v[i], STR("include")))
			check_list_file(c, param, spec, key, r->addresses.v[i]);
		for (size_t k = 0; k < allowed.n; k++)
			may |= strcmp(allowed.v[k], "alias") == 0;
		if ((command || file) && !may)
			found_param(c, SEV_WARNING, param, "%s: \"%.*s\" is a %s, and allow_mail_to_%ss does not have \"alias\" (the default allows nothing; Postfix's does)", spec,
				    STR_ARG(str_sub(key, 0, 100)), command ? "command" : "file", command ? "command" : "file");
		if ((command || file) && may && strncmp(spec, "cdb:", 4) != 0 && strncmp(spec, "hash:", 5) != 0)
			found_param(c, SEV_WARNING, param, "%s: \"%.*s\": commands and files are taken from compiled maps (cdb:) only: its mail will wait", spec,
				    STR_ARG(str_sub(key, 0, 100)));
	}
}
