/* postern setup: the DNS records of a mail domain, as lines of a zone file. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "admin/setup/setup.h"

/* %h host name, %d domain. */
static const struct record {
	const char *name, *type, *data, *why;
} records[] = {
	{ "%d.", "MX", "10 %h.", "where the domain's mail goes" },
	{ "%d.", "TXT", "\"v=spf1 mx -all\"", "SPF: only the hosts above send mail of this domain" },
	{ "%h.", "TXT", "\"v=spf1 a -all\"", "SPF for the name that this server greets with" },
	{ "_dmarc.%d.", "TXT", "\"v=DMARC1; p=none; rua=mailto:postmaster@%d\"",
	  "DMARC: reports first. Forwarded mail fails SPF: before a stricter p=, sign with DKIM (postern dkim genkey %d)" },
	{ "_smtp._tls.%d.", "TXT", "\"v=TLSRPTv1; rua=mailto:postmaster@%d\"", "others report TLS trouble" },
	{ "_submissions._tcp.%d.", "SRV", "0 1 465 %h.", "mail programs find the server" },
	{ "_submission._tcp.%d.", "SRV", "0 0 0 .", "not 587, which the shipped firewall keeps closed (RFC 6186 3.4); where you open it: 10 1 587 %h." },
	{ "_imaps._tcp.%d.", "SRV", "0 1 993 %h.", NULL },
	{ "_imap._tcp.%d.", "SRV", "10 1 143 %h.", NULL },
	{ "_pop3s._tcp.%d.", "SRV", "20 1 995 %h.", NULL },
	{ "_pop3._tcp.%d.", "SRV", "30 1 110 %h.", NULL },
};

static void expand(const struct setup *s, const char *text)
{
	for (; *text; text++) {
		if (*text == '%')
			fputs(*++text == 'h' ? s->hostname : s->domain, stdout);
		else
			putchar(*text);
	}
}

/* Not loopback, not link-local. */
static const char *address_text(const struct sockaddr *sa, char out[INET6_ADDRSTRLEN])
{
	if (sa && sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		const uint32_t host = ntohl(in.sin_addr.s_addr);
		return host >> 24 == 127 || host >> 16 == 0xa9fe ? NULL : inet_ntop(AF_INET, &in.sin_addr, out, INET6_ADDRSTRLEN);
	}
	if (sa && sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) ? NULL
												  : inet_ntop(AF_INET6, &in6.sin6_addr, out, INET6_ADDRSTRLEN);
	}
	return NULL;
}

static void addresses(const struct setup *s)
{
	struct ifaddrs *all = NULL;
	char text[INET6_ADDRSTRLEN];
	bool any = false;

	puts("; this machine's addresses; behind NAT the outside one takes their place. Reverse DNS must lead back to the name.");
	if (getifaddrs(&all) == 0) {
		for (const struct ifaddrs *i = all; i; i = i->ifa_next)
			if (address_text(i->ifa_addr, text)) {
				printf("%s. IN %s %s\n", s->hostname, i->ifa_addr->sa_family == AF_INET ? "A" : "AAAA", text);
				any = true;
			}
		freeifaddrs(all);
	}
	if (!any)
		printf("; %s. IN A (no address was found here)\n", s->hostname);
}

void setup_dns(const struct setup *s)
{
	char id[32];
	const time_t now = time(NULL);
	struct tm tm;

	printf("; DNS records to publish for %s\n", s->domain);
	addresses(s);
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		if (records[i].why) {
			fputs("; ", stdout);
			expand(s, records[i].why);
			putchar('\n');
		}
		expand(s, records[i].name);
		printf(" IN %s ", records[i].type);
		expand(s, records[i].data);
		putchar('\n');
	}
	strftime(id, sizeof(id), "%Y%m%d%H%M%S", gmtime_r(&now, &tm));
	printf("; MTA-STS, once a public authority's certificate is in place and https://mta-sts.%s/.well-known/mta-sts.txt answers\n"
	       ";   version: STSv1 / mode: testing / mx: %s / max_age: 86400 (one a line):\n"
	       ";_mta-sts.%s. IN TXT \"v=STSv1; id=%s\"\n",
	       s->domain, s->hostname, s->domain, id);
}
