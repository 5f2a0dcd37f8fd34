DNS_PROCESS := $(addprefix $(D)/,dns.c dns_ares.c)
