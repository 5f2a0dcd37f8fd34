/* The header that a proxy puts before a connection's first byte: "PROXY protocol" versions 1 (text) and 2 (binary) as HAProxy, nginx and others send it. Pure.
 * Whether the peer may send one is the caller's question. */
#ifndef SMTP_PROXY_H
#define SMTP_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

enum { SMTP_PROXY_V1_MAX = 107, SMTP_PROXY_V2_HEAD = 16, SMTP_PROXY_V2_MAX = 2048 };

struct smtp_proxy {
	bool local;			/* the proxy speaks for itself (a health check), or does not know for whom */
	char client[64], server[64];	/* numeric */
	uint8_t addr[16];		/* of the client, IPv4 mapped */
	uint16_t client_port, server_port;
};

/* 0: *used_out bytes of in were the header; 1: it is not whole yet; -1: ERR_INPUT, this is none, and never will be. Nothing behind the header is looked at. */
int smtp_proxy_parse(struct str in, struct smtp_proxy *out, size_t *used_out, struct err *e) MUST_CHECK;

#endif
