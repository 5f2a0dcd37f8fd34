/* Certificates of clients (RFC 8446 4.4.2): asked for where the listener wants them, told to queued, which decides what they are worth. The handshake has proved that
 * the client has the key.
 */
#include "base/attr.h"
#include "io/tls.h"
#include "log/log.h"
#include "smtpd/peers.h"

int ccert_open(struct front_env *env, struct err *e)
{
	const struct conf *c = env->conf;

	if (env->tls == NULL)
		return 0;
	if (tls_server_believe(env->tls, c->smtpd_tls_CAfile, c->smtpd_tls_CApath, (unsigned)c->smtpd_tls_ccert_verifydepth, e) < 0)
		return err_wrap(e, "smtpd_tls_CAfile, smtpd_tls_CApath");
	return 0;
}

bool ccert_asked(const struct session *s)
{
	return s->conf->smtpd_tls_ask_ccert || s->conf->smtpd_tls_req_ccert;
}

void ccert_seen(struct session *s)
{
	struct tls_cert_facts f;

	s->cert_trusted = false;
	if (conn_tls_cert(s->c, s->conf->smtpd_tls_fingerprint_digest, &f) < 0)
		return;
	s->cert_trusted = f.trusted;
	log_info("%s: certificate: subject_CN=%s, issuer_CN=%s, fingerprint=%s, pkey_fingerprint=%s%s%s", s->host, f.subject, f.issuer, f.cert, f.key,
		 f.trusted ? "" : ", not trusted: ", f.why);
	peers_ccert(s, &f);
}
