/* Values that are legal one by one, and do not do what was meant. Most come from guides that are followed to the letter. */
#include "admin/postern/check.h"

#include "base/num.h"
#include "deliver/policy/milter_wire.h"
#include "deliver/restrict/restrict.h"
#include "imapd/caps.h"

static bool is(const char *a, const char *b)
{
	return str_case_eq(str_c(a), str_c(b));
}

static bool list_has(struct conf_list l, const char *word)
{
	for (size_t i = 0; i < l.n; i++)
		if (is(l.v[i], word))
			return true;
	return false;
}

/* [127.0.0.0]:10024: an address that ends in .0 or .255 is a network or its broadcast address. */
static void check_next_hop(struct check *c, const char *param)
{
	struct str text, host;
	uint8_t addr[16];

	if (!conf_lookup(c->conf, param, &text))
		return;
	const ptrdiff_t open = str_chr(text, '['), close = str_chr(text, ']');

	if (open < 0 || close < open)
		return;
	host = str_sub(text, (size_t)open + 1, (size_t)(close - open - 1));
	if (addr_parse(host, addr) == 0 && str_chr(host, ':') < 0 &&
	    (addr[15] == 0 || addr[15] == 255))
		found_param(c, SEV_WARNING, param,
			    "[%.*s] looks like a network's address, not a host's (127.0.0.1 "
			    "meant?): all mail would wait",
			    STR_ARG(host));
}

/* [host]:port and the like, as remote takes it apart; a host's name itself is the resolver's business. */
static bool hop_formed(struct str hop)
{
	const bool literal = str_starts(hop, STR("["));
	const ptrdiff_t end = str_chr(hop, literal ? ']' : ':');
	struct str port = end < 0 ? STR("") : str_from(hop, (size_t)end + literal);
	uint64_t number;

	if (hop.n == 0 || end == literal || (literal && end < 0) || (port.n && port.p[0] != ':'))
		return false;
	return port.n == 0 || num_parse(str_from(port, 1), 1, 65535, &number) == 0;
}

static void check_relayhost(struct check *c)
{
	if (c->conf->relayhost[0] && !hop_formed(str_c(c->conf->relayhost)))
		found_param(c, SEV_ERROR, "relayhost", "\"%s\" (allowed: [host], [host]:port, host, host:port; a port is a number)", c->conf->relayhost);
	check_next_hop(c, "relayhost");
}

static void check_backup(struct check *c)
{
	if (c->conf->backup_directory[0] && c->conf->backup_directory[0] != '/')
		found_param(c, SEV_ERROR, "backup_directory", "\"%s\" is no absolute path: nothing would be saved", c->conf->backup_directory);
}

static void check_relaying(struct check *c)
{
	const struct conf *o = c->conf;
	bool loopback = false;

	for (size_t i = 0; i < o->mynetworks.n; i++)
		loopback = loopback || str_starts(str_c(o->mynetworks.v[i]), STR("127.")) ||
			   str_starts(str_c(o->mynetworks.v[i]), STR("[::1]")) ||
			   str_starts(str_c(o->mynetworks.v[i]), STR("::1"));
	if (loopback)
		found_param(c, SEV_WARNING,
			    conf_param_line(o, "mynetworks") ? "mynetworks" : "mynetworks_style",
			    "every program and every TLS wrapper on this machine may relay: behind "
			    "stunnel or a proxy all the world looks like loopback");
	if (is(o->mynetworks_style, "subnet") || is(o->mynetworks_style, "class"))
		found_param(
			c, SEV_WARNING, "mynetworks_style",
			"every host in the networks of this machine's interfaces may relay without "
			"a password (%zu networks); name them in mynetworks, or leave both empty",
			o->mynetworks.n);
	for (size_t i = 0; i < o->relay_domains.n; i++)
		if (list_has(o->mydestination, o->relay_domains.v[i])) {
			found_param(c, SEV_NOTE, "relay_domains",
				    "names domains of mydestination, which are local: that changes "
				    "nothing. Here a name matches exactly; subdomains "
				    "are written with a dot before the name");
			break;
		}
}

/* A domain in two lists is in the first; the second is not what was meant. */
static void check_classes(struct check *c)
{
	const struct conf *o = c->conf;
	const struct {
		const char *name;
		struct conf_list list;
	} lists[] = { { "mydestination", o->mydestination },
		      { "virtual_alias_domains", o->virtual_alias_domains },
		      { "virtual_mailbox_domains", o->virtual_mailbox_domains } };

	for (size_t a = 0; a < ARRAY_LEN(lists); a++)
		for (size_t b = a + 1; b < ARRAY_LEN(lists); b++)
			for (size_t i = 0; i < lists[b].list.n; i++)
				if (!strchr(lists[b].list.v[i], ':') &&
				    list_has(lists[a].list, lists[b].list.v[i]))
					found_param(c, SEV_WARNING, lists[b].name,
						    "%s is also in %s, which wins",
						    lists[b].list.v[i], lists[a].name);
}

static void check_login(struct check *c)
{
	static const char *const unverifiable[] = { "CRAM-MD5", "DIGEST-MD5", "NTLM", "SCRAM-SHA-1",
						    "APOP" };
	const struct conf *o = c->conf;

	for (size_t i = 0; i < ARRAY_LEN(unverifiable); i++)
		if (list_has(o->auth_mechanisms, unverifiable[i]))
			found_param(c, SEV_ERROR, "auth_mechanisms",
				    "%s cannot be checked against hashed passwords or PAM: it "
				    "would always fail",
				    unverifiable[i]);
	if (o->smtpd_sasl_auth_enable && !o->smtpd_tls_auth_only)
		found_param(
			c, SEV_WARNING, "smtpd_tls_auth_only",
			"passwords may cross the network unencrypted; Postern's default is yes");
	if (o->smtpd_sasl_auth_enable && o->smtpd_tls_auth_only &&
	    !conf_param_line(o, "smtpd_tls_auth_only"))
		found_param(c, SEV_NOTE, "smtpd_tls_auth_only",
			    "AUTH is offered under TLS only (Postfix's default is no)");
	if (!o->tls_cert_file[0])
		found_param(c, SEV_WARNING, "tls_cert_file",
			    "no certificate: no TLS is offered, and so no login%s",
			    o->smtpd_tls_auth_only ? "" : " but unencrypted ones");
}

static void check_mailboxes(struct check *c)
{
	const struct conf *o = c->conf;

	if (o->mail_location[0] && conf_param_line(o, "home_mailbox"))
		found_param(c, SEV_NOTE, "home_mailbox",
			    "not used: mail_location is set, and it is what delivery, IMAP and "
			    "POP3 all use");
	if (o->home_mailbox[0] && !str_ends(str_c(o->home_mailbox), STR("/")))
		found_param(c, SEV_ERROR, "home_mailbox",
			    "\"%s\": without a final slash it names an mbox file (allowed: a "
			    "maildir, \"%s/\")",
			    o->home_mailbox, o->home_mailbox);
	if (o->home_mailbox[0] == '/')
		found_param(
			c, SEV_ERROR, "home_mailbox",
			"\"%s\": it is relative to the home (mail_location takes absolute paths)",
			o->home_mailbox);
}

static void check_limits(struct check *c)
{
	const struct conf *o = c->conf;

	if (o->smtpd_soft_error_limit > o->smtpd_hard_error_limit)
		found_param(
			c, SEV_NOTE, "smtpd_soft_error_limit",
			"above smtpd_hard_error_limit: sessions end before they are slowed down");
	if (o->greylist_lifetime <= o->greylist_delay)
		found_param(c, SEV_ERROR, "greylist_lifetime", "not above greylist_delay: who came back would be forgotten at once");
	if (!o->smtpd_reject_unlisted_recipient)
		found_param(c, SEV_WARNING, "smtpd_reject_unlisted_recipient",
			    "changes nothing: recipients that do not exist are refused all the same, "
			    "because nobody could get the mail");
	if (o->minimal_backoff_time > o->maximal_backoff_time)
		found_param(c, SEV_ERROR, "minimal_backoff_time", "above maximal_backoff_time");
	if (o->maximal_queue_lifetime && o->delay_warning_time > o->maximal_queue_lifetime)
		found_param(
			c, SEV_NOTE, "delay_warning_time",
			"above maximal_queue_lifetime: mail is returned before a warning is due");
}

static void check_names(struct check *c)
{
	const struct conf *o = c->conf;

	if (!strchr(o->myhostname, '.') || str_case_ends(str_c(o->myhostname), STR(".localdomain")))
		found_param(c, SEV_WARNING, "myhostname",
			    "\"%s\" is no full name: other servers refuse such a HELO",
			    o->myhostname);
	if (o->smtpd_banner[0] && !str_case_starts(str_c(o->smtpd_banner), str_c(o->myhostname)))
		found_param(c, SEV_WARNING, "smtpd_banner",
			    "does not start with myhostname (RFC 5321 4.2)");
	if (!is(o->syslog_name, "postfix"))
		found_param(c, SEV_NOTE, "syslog_name",
			    "log parsers (pflogsumm, AWStats, fail2ban) know Postfix's lines: "
			    "\"postfix\" makes their defaults match");
}

static void check_restrictions(struct check *c)
{
	struct restrict_set *set;
	struct err e = { 0 };

	const struct conf *own;
	const char *name;
	size_t it = 0;

	while (conf_variant_next(c->conf, &it, &name, &own))
		if (restrict_compile(own, c->a, &set, &e) < 0)
			found_error(c, name, &e);
}

static bool names_word(const struct conf *o, const char *word)
{
	const struct conf_list lists[] = { o->smtpd_client_restrictions, o->smtpd_helo_restrictions, o->smtpd_sender_restrictions, o->smtpd_relay_restrictions,
					   o->smtpd_recipient_restrictions, o->smtpd_data_restrictions, o->smtpd_end_of_data_restrictions };

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		if (list_has(lists[i], word))
			return true;
	return false;
}

static void check_client_certs(struct check *c)
{
	enum { LISTED, ALL, ACCESS, N_WORDS };
	static const char *const words[N_WORDS] = { "permit_tls_clientcerts", "permit_tls_all_clientcerts", "check_ccert_access" };
	bool used[N_WORDS] = { false }, asks = false, demands = false;
	const struct conf *o;
	const char *name;
	size_t it = 0;

	while (conf_variant_next(c->conf, &it, &name, &o)) {
		demands |= o->smtpd_tls_req_ccert;
		asks |= o->smtpd_tls_ask_ccert || o->smtpd_tls_req_ccert;
		for (size_t i = 0; i < N_WORDS; i++)
			used[i] |= names_word(o, words[i]);
	}
	o = c->conf;
	for (size_t i = 0; i < N_WORDS; i++)
		if (used[i] && !asks)
			found_param(c, SEV_WARNING, "smtpd_tls_ask_ccert", "%s never matches: no client is asked for a certificate", words[i]);
	if (used[LISTED] && o->relay_clientcerts.n == 0)
		found_param(c, SEV_WARNING, "relay_clientcerts", "%s never matches while this is empty", words[LISTED]);
	if ((used[ALL] || demands) && !*o->smtpd_tls_CAfile && !*o->smtpd_tls_CApath)
		found_param(c, SEV_WARNING, "smtpd_tls_CAfile", "no client certificate is trusted while this and smtpd_tls_CApath are empty");
	if (o->smtpd_tls_req_ccert)
		found_param(c, SEV_WARNING, "smtpd_tls_req_ccert",
			    "strangers have no certificate, so none of their mail is taken: set it for a listener (listener.NAME = … -o) instead");
}

static void check_milters(struct check *c, const struct conf *o, const char *listener, const char *param, const char *value)
{
	struct str list = str_c(value), one;
	size_t n = 0;

	for (; milter_list_next(&list, &one); n++) {
		struct milter_setting s = { .protocol = (uint32_t)o->milter_protocol };
		struct err e = { 0 };
		if (milter_setting_parse(one, &s, &e) < 0)
			found(c, SEV_ERROR, o->conf_file, param, "%s%s%s", listener, *listener ? ": " : "", e.text);
	}
	if (n > MILTERS_MAX)
		found(c, SEV_ERROR, o->conf_file, param, "more than %d milters", MILTERS_MAX);
}

static void check_all_milters(struct check *c)
{
	const struct conf *own;
	const char *name;
	size_t it = 0;

	while (conf_variant_next(c->conf, &it, &name, &own)) {
		check_milters(c, own, name, "smtpd_milters", own->smtpd_milters);
		check_milters(c, own, name, "non_smtpd_milters", own->non_smtpd_milters);
	}
}

static void check_capabilities(struct check *c)
{
	const char *word;

	for (size_t at = 0; (word = caps_unknown(c->conf, &at)) != NULL;)
		found_param(c, SEV_WARNING, "imap_discard_capabilities", "there is no capability %s (imapd(8) names them)", word);
}

void check_values(struct check *c)
{
	check_names(c);
	check_relaying(c);
	check_classes(c);
	check_login(c);
	check_delivery(c);
	check_mailboxes(c);
	check_limits(c);
	check_restrictions(c);
	check_client_certs(c);
	check_all_milters(c);
	check_capabilities(c);
	check_relayhost(c);
	check_backup(c);
	check_next_hop(c, "content_filter");
}
