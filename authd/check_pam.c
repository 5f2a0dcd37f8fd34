/* What PAM says of a password and of an account of the system. */
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authd/check.h"
#include "base/arena.h"
#include "base/enc.h"
#include "log/log.h"

struct talk {
	const char *user, *password;
	unsigned asked;
};

static void no_delay(int status, unsigned usec, void *ctx)
{
	/* The front waits, not this worker. */
}

static void replies_free(struct pam_response *r, int n)
{
	for (int i = 0; i < n; i++) {
		if (r[i].resp)
			mem_wipe(r[i].resp, strlen(r[i].resp));
		free(r[i].resp);
	}
	free(r);
}

/* The password for one prompt with echo off, the name for prompts with echo. A second secret (a one-time code) cannot be had. */
static int converse(int n, const struct pam_message **msg, struct pam_response **out, void *ctx)
{
	struct talk *t = ctx;

	if (n <= 0 || n > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	struct pam_response *r = xzalloc((size_t)n * sizeof *r);
	for (int i = 0; i < n; i++) {
		switch (msg[i]->msg_style) {
		case PAM_PROMPT_ECHO_OFF:
			if (t->asked++) {
				replies_free(r, n);
				return PAM_CONV_ERR;
			}
			r[i].resp = xstrdup(t->password);
			break;
		case PAM_PROMPT_ECHO_ON:
			r[i].resp = xstrdup(t->user);
			break;
		case PAM_ERROR_MSG:
		case PAM_TEXT_INFO:
			break;
		default:
			replies_free(r, n);
			return PAM_CONV_ERR;
		}
	}
	*out = r;
	return PAM_SUCCESS;
}

static struct verdict pam_verdict(pam_handle_t *p, int r, const char *step)
{
	struct verdict v;

	switch (r) {
	case PAM_AUTH_ERR:
	case PAM_USER_UNKNOWN:
	case PAM_MAXTRIES:
	case PAM_PERM_DENIED:
	case PAM_CRED_INSUFFICIENT:
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_AUTHTOK_EXPIRED:
		v.v = V_WRONG;
		break;
	default:	/* a broken set-up is not the user's fault */
		v.v = V_TEMP;
	}
	v = verdict_say(v.v, "");
	snprintf(v.reason, sizeof v.reason, "PAM %s error (%s)", step, pam_strerror(p, r));
	return v;
}

struct verdict check_pam(const char *user, const char *service, const char *client, const char *password)
{
	struct talk t = { user, password ? password : "", 0 };
	const struct pam_conv conv = { converse, &t };
	pam_handle_t *p = NULL;
	const void *name = NULL;

	int r = pam_start(service, user, &conv, &p);
	if (r != PAM_SUCCESS)
		return verdict_say(V_TEMP, "PAM start error");
	typedef void delay_fn(int, unsigned, void *);
	delay_fn *quiet = no_delay;
	const void *item;
	memcpy(&item, &quiet, sizeof item);
	(void)pam_set_item(p, PAM_FAIL_DELAY, item);
	if (client[0])
		(void)pam_set_item(p, PAM_RHOST, client);
	r = password ? pam_authenticate(p, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK) : PAM_SUCCESS;
	if (r != PAM_SUCCESS)
		return pam_verdict(p, r, "auth");
	r = pam_acct_mgmt(p, PAM_SILENT);
	if (r != PAM_SUCCESS)
		return pam_verdict(p, r, "acct");
	if (pam_get_item(p, PAM_USER, &name) != PAM_SUCCESS || !name || strcmp((const char *)name, user) != 0)
		return verdict_say(V_TEMP, "PAM changed the user name");
	return verdict_say(V_RIGHT, "pam");	/* the process ends: no pam_end */
}

void check_pam_warm(const struct conf *c)
{
	static const char *const names[] = { "smtp", "imap", "pop" };
	static const struct pam_conv conv = { converse, NULL };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		pam_handle_t *p = NULL;
		const char *name = c->auth_pam_service[0] ? c->auth_pam_service : names[i];

		if (pam_start(name, "nobody", &conv, &p) != PAM_SUCCESS)
			log_warning("PAM service %s cannot be opened", name);
	}
}
