DNS_PROCESS := $(addprefix $(D)/,dns.c dns_cache.c dns_ares.c)
$(call unittest,test_dns_cache,test_dns_cache.c dns_cache.c,ipc base test)
